"""netconsd receives kernel logs that Linux machines send with netconsole.

The light public names are here; the service is :mod:`netconsd.service`, the plain protocol
:mod:`netconsd.receive.listener`. Importing this package never imports a reactor.
"""

from netconsd.interfaces import (
    IBatchOutputModule,
    ICountsLosses,
    IListening,
    IOutputModule,
    IReloadable,
    ITakesLegacyDatagrams,
)
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source

__version__ = "0.1.0"

__all__ = [
    "ExtendedMessage",
    "IBatchOutputModule",
    "ICountsLosses",
    "IListening",
    "IOutputModule",
    "IReloadable",
    "ITakesLegacyDatagrams",
    "LegacyDatagram",
    "LegacyMessage",
    "Message",
    "Source",
    "__version__",
]
