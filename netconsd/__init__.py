"""netconsd receives kernel logs that Linux machines send with netconsole.

This package exports the interfaces of output modules and the message classes. :mod:`netconsd.service` has the service,
:mod:`netconsd.embedding` its parts. Importing this package never imports a reactor.
"""

from netconsd.interfaces import (
    IBatchOutputModule,
    ICountsLosses,
    ICountsUnknownLosses,
    IListening,
    IOutputModule,
    IReloadable,
    ITakesLegacyDatagrams,
    IUsesNames,
    IUsesSnapshots,
)
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source

__version__ = "0.1.0"

__all__ = [
    "ExtendedMessage",
    "IBatchOutputModule",
    "ICountsLosses",
    "ICountsUnknownLosses",
    "IListening",
    "IOutputModule",
    "IReloadable",
    "ITakesLegacyDatagrams",
    "IUsesNames",
    "IUsesSnapshots",
    "LegacyDatagram",
    "LegacyMessage",
    "Message",
    "Source",
    "__version__",
]
