#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Scapy at the wire's end, for scapy.hpp: scapy_peer.py CHANNEL INTERFACE HOST_MAC

CHANNEL is the descriptor of a socket that keeps messages apart. Each message from the test is a Python expression, in
which all of scapy and the functions below have their names; the answer is its value as JSON."""

import json
import socket
import sys

from scapy.all import *  # what expressions are made of
from scapy.layers.ipsec import AH

CHANNEL, INTERFACE, HOST_MAC = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], sys.argv[3]
WIRE = conf.L2socket(iface=INTERFACE)  # from here on nothing that the host sends is missed
COMPUTED = {IP: ("len", "chksum"), IPv6: ("plen",), UDP: ("len", "chksum"), TCP: ("chksum",), ICMP: ("chksum",)}


def frame(packet):
    """On its way to the host."""
    return raw(Ether(src=get_if_hwaddr(INTERFACE), dst=HOST_MAC) / packet)


def send(*packets):
    """In this order. Gives what was sent, from IP on, in hexadecimal digits."""
    frames = [frame(packet) for packet in packets]
    for one in frames:
        WIRE.send(Raw(one))
    return [one[14:].hex() for one in frames]


def built(packet):
    """A frame for the test to send."""
    return frame(packet).hex()


def read(fits):
    """The next packet of the host that fits. Waits for it: it is the test that gives up."""
    while True:
        packet = WIRE.recv()
        if packet is not None and packet.src == HOST_MAC and fits(packet):
            return packet


def under_checksum(ip, datagram):
    """The UDP datagram with the checksum that it has right behind that IP header: scapy finds none behind AH."""
    return Raw(raw(ip / datagram)[len(ip) :])


def is_right(packet):
    """Whether the packet has the very lengths and checksums that scapy computes."""
    again = packet.copy()
    for layer, names in COMPUTED.items():
        if layer in again:
            for name in names:
                again[layer].delfieldval(name)
    return raw(again) == raw(packet)


def dissected(packet):
    ip = packet[IP] if IP in packet else packet[IPv6]
    transport = packet[UDP] if UDP in packet else packet[TCP]
    return {
        "layers": [layer.__name__ for layer in packet.layers()],
        "from": [ip.src, transport.sport],
        "to": [ip.dst, transport.dport],
        "payload": raw(transport.payload).decode(),
        "right": is_right(packet),
    }


CHANNEL.send(b"ready")
while expression := CHANNEL.recv(65536):
    CHANNEL.send(json.dumps(eval(expression)).encode())
