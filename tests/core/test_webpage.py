"""The page stands alone, says what the estimate says, and takes no key for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref
from tests.core.planning import estimated
from worker.core.compare import Comparison
from worker.core.estimate import Estimate, Fleet
from worker.core.plan import Action, Step
from worker.core.report import too_slow
from worker.core.webpage import as_html

MARKUP = '<script>alert("1")</script>/'
VOID = {"meta"}
SLOW = Fleet(1, 16, 0.00001, 0.05)


class Page(HTMLParser):
    """The tags of a page, if each is closed in its turn, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`, as of the others."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Such as SVG has."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        """It must end the last that began."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text, but for styles and what only a pointer shows."""
        if self._open and self._open[-1] not in {"style", "title"}:
            self.text += f"{data} "


def rich(fleet: Fleet | None = None) -> Estimate:
    steps = [
        Step(Action.COPY, ref(f"{MARKUP}a", 5_000)),
        Step(Action.COPY, ref("a/b", 2**31, f"{ONE_MD5}-32")),
        Step(Action.COPY, ref("b/c", 7, OTHER_MD5), Comparison.UNPROVEN),
        Step(Action.EQUAL, ref("c/d", 9), Comparison.EQUAL),
        Step(Action.COPY, ref("new\nline/e", 100), Comparison.DIFFERENT),
    ]
    return estimated(*steps, fleet=fleet)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    html = as_html(rich())
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "a", "b>"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "data", "onclick", "style"}
    assert not re.search(r"@import|url\(|https?:", html)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert ("lang", "en") in page.attributes
    assert page.tags.count("h1") == 1


def test_every_plot_has_a_name() -> None:
    page = Page(as_html(rich(SLOW)))
    assert page.tags.count("svg") == 5
    assert len([value for name, value in page.attributes if name == "aria-label" and value]) == 5


def test_keys_are_shown_and_not_obeyed() -> None:
    page = Page(as_html(rich()))
    assert "script" not in page.tags
    assert '<script>alert("1")</' in page.text
    assert r"'new\nline/'" in page.text


def test_a_side_is_shown_and_not_obeyed() -> None:
    sides = {"source": f"s3://one/{MARKUP}", "destination": f"s3://two/{MARKUP}"}
    page = Page(as_html(msgspec.structs.replace(rich(), **sides)))
    assert "script" not in page.tags
    assert all(side in page.text for side in sides.values())


def test_the_page_says_what_the_estimate_says() -> None:
    found = rich()
    text = re.sub(r"\s+", " ", Page(as_html(found)).text)
    for said in (
        "s3://source/ in us-east-1",
        "between regions; the bytes come through the workers",
        "to move 2 GiB of 2 GiB listed",
        "objects to move 4 of 5 listed",
        "unproven 1 7 B same size",
        "listed 5 2 GiB",
        "UploadPart 32",
        "Time: 1 min with 1 instance",
        "Unproven objects are reckoned as copied",
    ):
        assert said in text


def test_what_is_too_slow_is_seen_at_once() -> None:
    slow = rich(SLOW)
    assert not slow.pace.fits_retention
    page = Page(as_html(slow))
    assert page.text.index("Too slow.") < page.text.index("What would happen")
    assert too_slow(slow) in page.text
    assert "Too slow." not in Page(as_html(rich())).text


@pytest.mark.parametrize("steps", [[], [Step(Action.EQUAL, ref("a", 9), Comparison.EQUAL)]])
def test_a_plan_without_work_is_a_page_without_plots_of_it(steps: list[Step]) -> None:
    page = Page(as_html(estimated(*steps)))
    assert "Sizes" not in page.text
    assert "Prefixes" not in page.text
    assert page.tags.count("svg") == 2


@pytest.mark.parametrize(
    ("instances", "shown"),
    [
        (1, ["1", "2", "5", "10", "20", "50", "100", "200"]),
        (3, ["1", "2", "3", "5", "10", "20", "50", "100"]),
        (11, ["1", "2", "5", "11", "20", "50", "100", "200"]),
        (100, ["5", "10", "20", "50", "100", "200", "500", "1,000"]),
        (10_000, ["50", "100", "200", "500", "1,000", "2,000", "5,000", "10,000"]),
    ],
)
def test_the_curve_is_about_the_fleet_that_is_meant(instances: int, shown: list[str]) -> None:
    step = Step(Action.COPY, ref("a", 10**15, f"{ONE_MD5}-1"))
    html = as_html(estimated(step, fleet=Fleet(instances, 16, 8, 0.05)))
    texts = re.findall(r'<text class="(?:value|strong)"[^>]*text-anchor="middle"[^>]*>([^<]*)<', html)
    assert texts == shown
