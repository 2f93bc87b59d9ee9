"""Which Oracle release the server passes for: everything that differs between releases is decided here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """One release.

    `tns_version` is the highest the listener agrees to, `field_version` the shape of TTC messages (python-oracledb source,
    impl/thin/constants.pxi, TNS_CCAP_FIELD_VERSION_*), `end_of_response` whether replies end with a message of their own.
    """

    name: str
    tns_version: int
    field_version: int
    end_of_response: bool
    version: tuple[int, int, int, int, int]

    @property
    def version_number(self) -> int:
        """AUTH_VERSION_NO, as servers of release 18 and later pack it."""
        major, minor, patch, build, port = self.version
        return major << 24 | minor << 16 | patch << 12 | build << 4 | port

    @property
    def version_full(self) -> str:
        """All five numbers, as VERSION_FULL and the driver show them."""
        return ".".join(map(str, self.version))

    @property
    def release(self) -> str:
        """The first number and zeros, as VERSION and the banner show it."""
        return f"{self.version[0]}.0.0.0.0"

    @property
    def product(self) -> str:
        """The product's name, which tells that this is not Oracle's."""
        return f"Oracle Database {self.name} (fakeoracle test double)"

    @property
    def banner(self) -> str:
        """BANNER of V$VERSION."""
        return f"{self.product} Release {self.release}"


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("19c", 318, 12, end_of_response=False, version=(19, 3, 0, 0, 0)),
        Profile("23ai", 319, 24, end_of_response=True, version=(23, 4, 0, 24, 5)),
    )
}
DEFAULT_PROFILE = PROFILES["19c"]


def profile(name: str) -> Profile:
    """Return the profile of that name; ValueError names those there are."""
    try:
        return PROFILES[name]
    except KeyError:
        raise ValueError(f"there is no profile {name!r}; take one of {', '.join(PROFILES)}") from None
