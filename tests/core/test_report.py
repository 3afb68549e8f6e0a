"""An estimate as a person reads it."""

from __future__ import annotations

from tests.core import ONE_MD5, ref
from tests.core.planning import estimated
from worker.core.bill import Submission
from worker.core.compare import Comparison
from worker.core.estimate import Fleet
from worker.core.model import ObjectRef
from worker.core.plan import Action, Step
from worker.core.report import WHY, as_text, too_slow
from worker.core.tally import Fate

GIB = 1024**3

WHOLE = """\
from s3://source/ in us-east-1
to   s3://destination/ in eu-west-1: between regions, bytes come through the workers
equal by etag, which can miss nothing: what ETags cannot tell, workers find out by checksum before they copy

WHAT WOULD HAPPEN  OBJECTS          BYTES
copy                     3  2,147,484,672  the destination has none
archived                 1              5  in Glacier: left alone unless restored
equal                    1              9  there already
listed                   5  2,147,484,686  2 GiB

SIZES TO MOVE      OBJECTS                            BYTES
empty                    1  ########################    0 B
under 1 KiB              0                              0 B
1 KiB to 4 KiB           1  ########################  1 KiB
4 KiB to 16 KiB          0                              0 B
16 KiB to 64 KiB         0                              0 B
64 KiB to 256 KiB        0                              0 B
256 KiB to 1 MiB         0                              0 B
1 MiB to 4 MiB           0                              0 B
4 MiB to 16 MiB          0                              0 B
16 MiB to 64 MiB         0                              0 B
64 MiB to 256 MiB        0                              0 B
256 MiB to 1 GiB         0                              0 B
1 GiB to 4 GiB           1  ########################  2 GiB

LARGEST PREFIXES TO MOVE  OBJECTS  BYTES
b/                              1  2 GiB
'\\x1b/'                         1  1 KiB
データ/                         1    0 B

REQUESTS                                   COUNT    COST
source       GetObject                        35   $0.04
source       HeadObject                        7  <$0.01
source       ListObjectsV2                     3   $0.02
destination  UploadPart                       32   $0.16
destination  PutObject                         2   $0.01
destination  CreateMultipartUpload             1  <$0.01
destination  CompleteMultipartUpload           1  <$0.01
destination  ListMultipartUploads              1  <$0.01
destination  HeadObject                        1  <$0.01
destination  ListParts                        20   $0.10
destination  ListObjectsV2                     3   $0.02
queue        SendMessageBatch                  6   $7.00
queue        ReceiveMessage                   22  $22.00
queue        DeleteMessage                    22  $22.00
queue        ChangeMessageVisibilityBatch      1   $1.00
2 tasks, of which 1 for objects copied by many workers, 16 hints; 32 parts

COST                           US DOLLARS
requests at the source              $0.06
requests at the destination         $0.30
requests at the queue              $52.00
data transfer between regions       $1.00
Spot Instances                     <$0.01
together                           $53.36
at list prices of 2026-11, without storage, logs, NAT gateways and addresses

TIME  1 min with 1 x x1.large: 0.1 instance hours
an instance taken to do 128 small objects a second: 2 x 16 streams, 250 ms each
and 954 MiB a second (8 Gbps of network), one after the other

note: Archived objects are not copied, unless they are restored before."""


def test_a_plan_reads_like_this() -> None:
    steps = [
        Step(Action.COPY, ref("\x1b/a", 1_024)),
        Step(Action.COPY, ObjectRef("a", 5, ONE_MD5, 0, "GLACIER")),
        Step(Action.COPY, ref("b/a", 2 * GIB, f"{ONE_MD5}-32")),
        Step(Action.EQUAL, ref("c", 9), Comparison.EQUAL),
        Step(Action.COPY, ref("データ/a", 0)),
    ]
    text = as_text(estimated(*steps, submission=Submission(5, 1, 1)))
    assert text == WHOLE


def test_a_plan_without_work_says_so_in_few_lines() -> None:
    text = as_text(estimated(Step(Action.EQUAL, ref("a", 9), Comparison.EQUAL)))
    assert "SIZES" not in text
    assert "PREFIXES" not in text
    assert "\ncopy                     0      0  the destination has none\n" in text


def test_what_is_too_slow_is_told_at_the_end_of_the_time() -> None:
    step = Step(Action.COPY, ref("a", 10**15, f"{ONE_MD5}-1"))
    found = estimated(step, fleet=Fleet(1, 16, 1, 0.05))
    assert too_slow(found) == (
        "92.6 days with 1 instance is longer than the 14 days for which a queue keeps its messages: "
        "what is left then is lost. 7 instances would do"
    )
    assert too_slow(found) in as_text(found)


def test_each_fate_is_explained() -> None:
    assert WHY.keys() == set(Fate)
