"""The names of months: dmesg and journalctl write them in the language of whoever runs them (strftime(3), ``%b``)."""

from __future__ import annotations

from typing import Final

# English, and the languages of glibc's locales in which no name means another month in another of these languages.
# Dots, and case, make no difference.
_NAMES: Final = """
jan   janv ene gen       ian sty  led янв січ oca ιαν tammi
feb   févr     fev febr      lut  úno фев лют şub φεβ helmi
mar   mars mär mrt márc      bře  мар бер μαρ maalis
apr   avr  avril april abr ápr kwi dub апр кві nis απρ huhti
may   mai  mei mag maj   máj kvě  мая май тра μαΐ touko
jun   juin juni giu jún  iun cze  čen čvn июн чер haz ιουν kesä
jul   juil juli lug júl  iul lip  čec čvc июл лип tem ιουλ heinä
aug   août ago           sie srp  авг сер ağu αυγ elo
sep   sept set szept     wrz zář  сен вер eyl σεπ syys
oct   okt  out ott       paź říj  окт жов eki οκτ loka
nov   lis  лис ноя kas       νοε marras
dec   dez  déc des dic   gru pro  дек гру ara δεκ joulu
"""  # noqa: RUF001
_MONTHS: Final = {
    name.casefold(): month for month, line in enumerate(_NAMES.strip().split("\n"), 1) for name in line.split()
}


def month_of(name: bytes) -> int | None:
    """Return the number of a month by its name; None for a name that is not known.

    Chinese, Japanese and Korean have a number and one character.
    """
    text = name.decode(errors="replace").strip(".").casefold()
    if text[:-1].isdecimal() and text[-1:] in ("月", "월"):
        number = int(text[:-1])
        return number if 1 <= number <= 12 else None
    return _MONTHS.get(text)
