"""The scripts that cut and heal by iptables, as text."""

from __future__ import annotations

import ipaddress

import pytest

from foreshock.harness.backends import grudge_rules


def test_the_whole_chain_is_replaced_by_one_restore_in_a_stable_order() -> None:
    assert grudge_rules.refuse(["10.0.0.3", "10.0.0.2", "10.0.0.3"]) == (
        "set -e\n"
        "iptables-restore --wait 5 --noflush <<'RULES'\n"
        "*filter\n"
        ":FORESHOCK - [0:0]\n"
        "-A FORESHOCK -s 10.0.0.2/32 -j DROP\n"
        "-A FORESHOCK -s 10.0.0.3/32 -j DROP\n"
        "COMMIT\n"
        "RULES\n"
        "iptables -w 5 -C INPUT -j FORESHOCK 2>/dev/null || iptables -w 5 -I INPUT 1 -j FORESHOCK\n"
    )


def test_refusing_nobody_leaves_an_empty_chain() -> None:
    assert "-j DROP" not in grudge_rules.refuse([])
    assert ":FORESHOCK - [0:0]\nCOMMIT" in grudge_rules.refuse([])


@pytest.mark.parametrize("address", ["n1", "10.0.0.1; reboot", "fe80::1", "10.0.0.0/8"])
def test_what_is_no_address_never_reaches_a_shell(address: str) -> None:
    with pytest.raises(ipaddress.AddressValueError):
        grudge_rules.refuse([address])


def test_no_script_flushes_or_touches_what_is_not_ours() -> None:
    for script in (grudge_rules.refuse(["10.0.0.2"]), grudge_rules.remove()):
        for line in script.splitlines():
            assert "-F" not in line or "-F FORESHOCK" in line
            assert "-P " not in line
            assert "-D" not in line or "-D INPUT -j FORESHOCK" in line
