"""Where a bucket is reached, in every partition: botocore knows, we ask."""

from __future__ import annotations

import pytest

from worker.aws.session import bucket_url
from worker.core.model import Endpoint


@pytest.mark.parametrize(
    ("region", "bucket", "url"),
    [
        ("us-east-1", "bucket", "https://bucket.s3.amazonaws.com"),
        ("eu-west-1", "bucket", "https://bucket.s3.eu-west-1.amazonaws.com"),
        ("eu-west-1", "a.bucket", "https://s3.eu-west-1.amazonaws.com/a.bucket"),
        ("cn-north-1", "bucket", "https://bucket.s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "bucket", "https://bucket.s3.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "bucket", "https://bucket.s3.us-iso-east-1.c2s.ic.gov"),
        ("eusc-de-east-1", "bucket", "https://bucket.s3.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_a_bucket_of_aws(region: str, bucket: str, url: str) -> None:
    assert bucket_url(Endpoint(bucket=bucket, region=region)) == (url, region)


def test_where_s3_says_that_it_is_goes_before_where_we_thought() -> None:
    place = bucket_url(Endpoint(bucket="bucket", region="us-east-1"), "eu-west-1")
    assert place == ("https://bucket.s3.eu-west-1.amazonaws.com", "eu-west-1")


@pytest.mark.parametrize("url", ["https://s3.test:9000", "https://s3.test:9000/", "http://[::1]:9000/base"])
def test_a_custom_endpoint_is_path_style(url: str) -> None:
    place = bucket_url(Endpoint(bucket="bucket", region="eu-west-1", endpoint_url=url))
    assert place == (f"{url.rstrip('/')}/bucket", "eu-west-1")


def test_fips_and_dual_stack_are_botocores_to_know(own_credentials: pytest.MonkeyPatch) -> None:
    own_credentials.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    own_credentials.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    url, _ = bucket_url(Endpoint(bucket="bucket", region="us-gov-west-1"))
    assert url == "https://bucket.s3-fips.dualstack.us-gov-west-1.amazonaws.com"
