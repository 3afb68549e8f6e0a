r"""Keys that S3 takes and that something on their way may not: JSON, XML, URLs, shells, SQS, terminals.

`KEYS` names each; `fuzzed` makes any number of others; `fitted` makes room for a prefix, since S3 counts
1,024 bytes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

LONGEST = 1024

_ALL = (
    # Control characters. XML 1.0, and so SQS and unencoded listings, has only tab, newline and return.
    ("control-01", "a\x01b"),
    ("backspace", "a\x08b"),
    ("tab", "a\tb"),
    ("newline", "a\nb"),
    ("vertical-tab", "a\x0bb"),
    ("return", "a\rb"),
    ("return-newline", "a\r\nb"),
    ("escape-sequence", "\x1b[31mred\x1b[0m"),
    ("control-1f", "a\x1fb"),
    ("control-1f-alone", "\x1f"),
    ("delete", "a\x7fb"),
    ("next-line", "a\x85b"),
    ("control-9f", "a\x9fb"),
    ("newline-at-end", "a\n"),
    # What Unicode says is no character, and what text tools drop or take for a line's end.
    ("u-fffe", "a\ufffeb"),
    ("u-ffff", "a\uffffb"),
    ("replacement", "a\ufffdb"),
    ("line-separator", "a\u2028b"),
    ("paragraph-separator", "a\u2029b"),
    ("byte-order-mark", "\ufeffa"),
    ("zero-width-space", "a\u200bb"),
    ("no-break-space", "a\xa0b"),
    ("soft-hyphen", "a\xadb"),
    ("private-use", "a\ue000b"),
    ("before-surrogates", "a\ud7ffb"),
    ("last-code-point", "a\U0010ffffb"),
    # What URLs mean something by.
    ("plus", "a+b"),
    ("plus-alone", "+"),
    ("percent", "a%b"),
    ("percent-alone", "%"),
    ("encoded-slash", "a%2Fb"),
    ("encoded-slash-lower", "a%2fb"),
    ("encoded-nul", "a%00b"),
    ("encoded-percent", "a%252Fb"),
    ("encoded-space", "a%20b"),
    ("encoded-plus", "a%2Bb"),
    ("question-mark", "a?b=c&d"),
    ("hash", "a#b"),
    ("tilde", "~a"),
    ("colon", "a:b"),
    ("like-a-query", "?list-type=2&prefix=x"),
    ("like-a-subresource", "a?versionId=null"),
    # Slashes and dots, which whoever takes a key for a path normalises.
    ("double-slash", "a//b"),
    ("slash-alone", "/"),
    ("slashes-alone", "//"),
    ("leading-slash", "/lead"),
    ("trailing-slash", "trail/"),
    ("dot", "."),
    ("dot-dot", ".."),
    ("dot-first", "./a"),
    ("dot-dot-first", "../a"),
    ("dot-inside", "a/./b"),
    ("dot-dot-inside", "a/../b"),
    ("dot-dot-last", "a/.."),
    ("hidden", ".hidden/..more"),
    # Markup.
    ("ampersand", "a&b"),
    ("entity", "a&amp;b"),
    ("numeric-entity", "a&#x2F;b"),
    ("less", "a<b"),
    ("greater", "a>b"),
    ("double-quote", 'a"b'),
    ("single-quote", "a'b"),
    ("cdata", "<![CDATA[a]]>"),
    # Shells, file names, formats.
    ("back-quote", "`a`"),
    ("command", "$(a)"),
    ("variable", "${HOME}"),
    ("semicolon", "a;b"),
    ("pipe", "a|b"),
    ("asterisk", "*"),
    ("back-slash", "a\\b"),
    ("back-slash-n", "a\\nb"),
    ("back-slash-u", "a\\u0041b"),
    ("braces", "{}"),
    ("format", "{0} {key!r} %s %(key)s"),
    ("brackets", "[a-z]"),
    ("parentheses", "(a)!"),
    ("equals", "a=b"),
    ("at", "a@b"),
    ("comma", "a,b"),
    ("caret", "^a"),
    ("option", "--delete"),
    ("short-option", "-rf"),
    # Spaces.
    ("space-alone", " "),
    ("space-first", " a"),
    ("space-last", "a "),
    ("spaces-inside", "a  b"),
    # Letters that only look alike, and text that does not run one letter after another.
    ("precomposed", "\u00e9"),
    ("combining", "e\u0301"),
    ("upper-case", "CASE"),
    ("lower-case", "case"),
    ("right-to-left", "\u05e9\u05dc\u05d5\u05dd/\u0645\u0631\u062d\u0628\u0627"),
    ("override", "a\u202etxt.exe"),
    ("astral", "\U0001d54f"),
    ("emoji-family", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    ("flag", "\U0001f1ea\U0001f1fa"),
    ("han", "\u6f22\u5b57"),
    # What looks like something else.
    ("like-a-url", "https://user:password@example.com:8080/a?b#c"),
    ("like-an-s3-uri", "s3://bucket/key"),
    ("like-json", '{"v":1,"kind":"copy","objects":[["a",1]]}'),
    ("like-xml", "<Contents><Key>a</Key><Size>1</Size></Contents>"),
    ("like-sql", "'); DROP TABLE object; --"),
    ("like-a-range", "bytes=0-1"),
    ("like-null", "null"),
    ("like-a-number", "00"),
    # As long as S3 allows, in letters of each length.
    ("longest-of-1-byte", "a" * LONGEST),
    ("longest-of-2-bytes", "\u00e9" * (LONGEST // 2)),
    ("longest-of-3-bytes", "\u20ac" * (LONGEST // 3) + "b"),
    ("longest-of-4-bytes", "\U0001f600" * (LONGEST // 4)),
    ("longest-of-percents", "%" * LONGEST),
    ("longest-of-controls", "\x01" * LONGEST),
    ("longest-of-slashes", "/" * LONGEST),
)

KEYS: dict[str, str] = dict(_ALL)
assert len(KEYS) == len(_ALL), "two keys have one id"


def fitted(key: str, prefix: str) -> str:
    """Return `prefix` and `key`; of a key that is too long then, as much as fills all of 1,024 bytes."""
    room = LONGEST - len(prefix.encode())
    raw = key.encode()
    if len(raw) <= room:
        return prefix + key
    kept = raw[:room].decode(errors="ignore")
    return prefix + kept + "x" * (room - len(kept.encode()))


# First and last code point: every ASCII character but NUL; what looks odd in a URL, a path or markup; further
# letters, combining ones, those that run the other way, those outside the basic plane, private ones.
_RANGES = (
    (0x01, 0x7F),
    (0x20, 0x2F),
    (0x3A, 0x40),
    (0x80, 0x2FF),
    (0x300, 0x36F),
    (0x590, 0x6FF),
    (0x2000, 0x206F),
    (0x3040, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xE000, 0xFFFF),
    (0x10000, 0x10FFFF),
)
_PIECES = ("/", "//", "/./", "/../", "%2F", "%00", "+", " ", "&amp;", "\r\n", "?", "#")


def fuzzed(random: Random, count: int) -> list[str]:
    """`count` keys, no two alike, most of them short and some as long as S3 allows."""
    keys: set[str] = set()
    while len(keys) < count:
        most = random.choice((1, 3, 10, 10, 30, 30, 100, LONGEST))
        keys.add("".join(_letters(random, most)).encode()[:LONGEST].decode(errors="ignore"))
    return sorted(keys)


def _letters(random: Random, most: int) -> Iterator[str]:
    first, last = random.choice(_RANGES)
    for _ in range(random.randint(1, most)):
        if random.random() < 0.1:
            first, last = random.choice(_RANGES)
        if random.random() < 0.1:
            yield random.choice(_PIECES)
        yield chr(random.randint(first, last))
