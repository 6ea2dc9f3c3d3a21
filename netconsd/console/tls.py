"""TLS for the console. Needs the extra ``netconsd[tls]``: pyOpenSSL, by Twisted[tls]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from netconsd.logger.checks import read_regular


@implementer(IOpenSSLServerConnectionCreator)
class ContextFactory:
    """Makes the state of each connection; the certificate can be read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = self.read()

    def serverConnectionForTLS(self, tls: Any) -> Any:  # noqa: N802 - Twisted's name
        """Return the state of a new connection."""
        from OpenSSL.SSL import Connection

        return Connection(self._context, None)

    def read(self) -> Any:
        """Return what the file has now, for :meth:`use`.

        :raises ValueError: if it is wrong.
        """
        return _context(self._path)

    def use(self, context: Any) -> None:
        """Use this for new connections."""
        self._context = context


def context_factory(path: Path) -> ContextFactory:
    """Return what makes TLS connections with a certificate and its key.

    :param path: a file in the form PEM with the key, the certificate, and those between it and the authority.
    :raises ValueError: if it cannot be used; the text begins with ``certificate``.
    :raises ModuleNotFoundError: if the library is missing.
    """
    try:
        import OpenSSL.SSL  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "certificate: needs pyOpenSSL, which is not installed: pip install 'netconsd[tls]'", name=error.name
        ) from None
    return ContextFactory(path)


def _context(path: Path) -> Any:
    from OpenSSL import SSL
    from twisted.internet.ssl import CertificateOptions, TLSVersion

    options = CertificateOptions(raiseMinimumTo=TLSVersion.TLSv1_2)
    context = options.getContext()
    try:
        if b"ENCRYPTED" in read_regular(str(path)):
            # OpenSSL would ask on the terminal, and the daemon wait for an answer.
            raise ValueError(f"certificate: the key in {path} has a passphrase: remove it with openssl pkey")
        context.use_certificate_chain_file(str(path))
        context.use_privatekey_file(str(path))
        context.check_privatekey()
    except OSError as error:
        raise ValueError(f"certificate: cannot read {path}: {error.strerror}") from None
    except SSL.Error as error:
        reason = error.args[0][0][-1] if error.args and error.args[0] else "another form"
        raise ValueError(f"certificate: {path} has no key and certificate in the form PEM: {reason}") from None
    return context
