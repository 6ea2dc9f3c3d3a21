"""A client of NATS that speaks TLS if the address begins with ``tls://``, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nats.aio.client import Client


def client(*, is_tls: bool) -> Client:
    """Return a client that is not connected.

    nats-py (2.16) takes its setting ``tls`` for a permission, and can connect without TLS. With ``is_tls``, the
    connection fails instead, as that of the Go client does; a server with ``tls_available`` gets one with TLS.
    """
    import nats.errors
    from nats.aio.client import Client

    class Encrypted(Client):
        async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
            # The first line of the server; whether TLS begins is decided by this object, after this call.
            if initial_connection and not info.get("tls_required"):
                if not info.get("tls_available"):
                    raise nats.errors.Error(
                        "the server has no TLS, and nothing was sent to it: write nats:// instead of tls://, or have "
                        "the server use TLS"
                    )
                info["tls_required"] = True
            await super()._process_info(info, initial_connection=initial_connection)

    return Encrypted() if is_tls else Client()
