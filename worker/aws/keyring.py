"""Who signs, and for which second: the credentials of one name as they are now.

They come from botocore, which refreshes those that are about to expire, and are asked for once a second.
Secrets stay in `Keys`, whose text does not show them.
"""

from __future__ import annotations

import threading
import time

import msgspec
from botocore.credentials import Credentials

from worker.aws import session
from worker.aws.errors import Where, translated
from worker.core.sigv4 import Keys, Signer

_RENEWAL_PAUSE = 10.0


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
        self._name = credentials
        self._lock = threading.Lock()
        self._source: Credentials | None = None
        self._renew_at = 0.0
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
        with self._lock:
            if self._keys() == refused and time.monotonic() >= self._renew_at:
                self._renew_at = time.monotonic() + _RENEWAL_PAUSE
                session.forget()
                self._source = None
            self._stamp = None
            return self._keys() != refused

    def _keys(self) -> Keys:
        with translated(Where(f"credentials {self._name!r}")):
            source = self._source or session.credentials(self._name)
            frozen = source.get_frozen_credentials()
        self._source = source
        return Keys(frozen.access_key or "", frozen.secret_key or "", frozen.token)
