"""Where the bus is and how to log in."""

import json
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from vms.common.errors import ErrorKind, VmsError

DEFAULT_URL: Final = "nats://127.0.0.1:4222"
_GIGABYTE: Final = 1 << 30
_MEGABYTE: Final = 1 << 20


class BusSettings(BaseModel):
    """One NATS server and its limits.

    With ``endpoint_file`` the address and credentials come from the file that the embedded server of a data directory
    writes; it is read again at every connection attempt, so a client outlives the server and its port.
    """

    model_config = ConfigDict(frozen=True)

    url: str = DEFAULT_URL
    user: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    server_name: str | None = None  # refuse a server that calls itself otherwise: it is somebody else's
    endpoint_file: Path | None = None
    pending_max_bytes: Annotated[int, Field(ge=1024)] = 8 * _MEGABYTE  # of core messages waiting to be sent
    recording_max_bytes: Annotated[int, Field(ge=_MEGABYTE)] = 512 * _MEGABYTE
    events_max_bytes: Annotated[int, Field(ge=_MEGABYTE)] = 512 * _MEGABYTE
    fragments_max_bytes: Annotated[int, Field(ge=_MEGABYTE)] = 2 * _GIGABYTE

    @field_validator("url")
    @classmethod
    def _nats_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            valid = parts.scheme == "nats" and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"the bus address must look like {DEFAULT_URL}")
        if parts.username or parts.password:
            raise ValueError("write the bus user and password in their own settings, not in the URL")
        return value

    @property
    def host(self) -> str:
        """Host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port."""
        return urlsplit(self.url).port or 4222

    @classmethod
    def discover(cls, data_dir: Path) -> Self:
        """Settings for the embedded server of ``data_dir``, whether it runs already or not yet."""
        return cls(endpoint_file=endpoint_path(data_dir))

    def resolve(self) -> "BusSettings":
        """Settings with the address and credentials that the endpoint file holds now.

        Raises VmsError(UNAVAILABLE) when there is no such file, VmsError(CORRUPT) when it is not one.
        """
        if self.endpoint_file is None:
            return self
        try:
            text = self.endpoint_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise VmsError(
                ErrorKind.UNAVAILABLE,
                "no message bus runs in this data directory: start it with vms up",
                endpoint_file=str(self.endpoint_file),
            ) from None
        except OSError as error:
            raise VmsError(ErrorKind.UNAVAILABLE, f"cannot read {self.endpoint_file}: {error.strerror}") from None
        try:
            found = json.loads(text)
            endpoint = {key: found[key] for key in ("url", "user", "password", "server_name")}
            return BusSettings.model_validate(
                {**self.model_dump(exclude={"token", "endpoint_file", *endpoint}), **endpoint}
            )
        except (ValueError, KeyError, TypeError, ValidationError):
            # No cause chained: it would quote the password.
            raise VmsError(
                ErrorKind.CORRUPT, f"{self.endpoint_file} is not an endpoint file: delete it and start vms up again"
            ) from None


def endpoint_path(data_dir: Path) -> Path:
    """Where the embedded server of a data directory says how to reach it."""
    return data_dir / "nats" / "endpoint.json"
