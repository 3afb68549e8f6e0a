"""Who signs, and for which second: the credentials of one name as they are now.

They are those that boto3's clients sign with, refreshed before they expire and read again once they are
refused (`worker.aws.credentials`), and are asked for once a second. Secrets stay in `Keys`, whose text does
not show them.
"""

from __future__ import annotations

import time

import msgspec

from worker.aws import session
from worker.aws.errors import Where, translated
from worker.core.sigv4 import Keys, Signer


class Stamp(msgspec.Struct, frozen=True):
    """What signs the requests of one second, which `date` spells as `x-amz-date`."""

    second: int
    region: str
    date: str
    signer: Signer


class KeyRing:
    """Signs for one endpoint; safe to use from many threads.

    Args:
        credentials: their name.
    """

    def __init__(self, credentials: str) -> None:
        self._credentials = session.credentials(credentials)
        self._where = Where(f"credentials {credentials!r}")
        self._skew = 0.0
        self._stamp: Stamp | None = None

    def stamp(self, region: str) -> Stamp:
        """What signs a request that is made now.

        Raises:
            ConfigurationError: there are no credentials.
        """
        second = int(time.time() + self._skew)
        stamp = self._stamp
        if stamp is None or stamp.second != second or stamp.region != region:
            keys = self._keys()
            same = stamp is not None and stamp.region == region and stamp.signer.keys == keys
            signer = stamp.signer if stamp and same else Signer(keys, region)
            date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamp = stamp = Stamp(second, region, date, signer)
        return stamp

    def set_clock(self, theirs: float) -> None:
        """Sign for the time that is `theirs` (seconds since the epoch) now."""
        self._skew = theirs - time.time()
        self._stamp = None

    def renew(self, refused: Keys) -> bool:
        """Read the credentials again, since these were refused; whether they are others now.

        Raises:
            ConfigurationError: there are none.
        """
        if self._keys() == refused:
            self._credentials.refused()
        self._stamp = None
        return self._keys() != refused

    def _keys(self) -> Keys:
        with translated(self._where):
            frozen = self._credentials.get_frozen_credentials()
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)
