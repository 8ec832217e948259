"""What an emulated BMC tells of itself over IPMI: sensor records (SDR) and inventory (FRU), as bytes."""

INLET, INLET_CELSIUS = 1, 22


def sensor_record() -> bytes:
    """A full sensor record (IPMI 2.0, table 43-1): an inlet temperature, one degree a step."""
    name = b"Inlet Temp"
    body = bytes([0x20, 0, INLET, 0x37, 1, 0x7F, 0x68, 0x01, 0x01]) + bytes(6)
    body += bytes([0, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + bytes([25, 40, 10, 255, 0]) + bytes(6) + bytes(5)
    body += bytes([0xC0 | len(name)]) + name
    return bytes([1, 0, 0x51, 0x01, len(body)]) + body


def inventory(vendor: str, model: str, serial: str) -> bytes:
    """A FRU image with one product area (IPMI FRU storage definition 1.0, chapter 12)."""
    words = (vendor, model, "", "", serial, "", "")
    fields = b"".join(bytes([0xC0 | len(word.encode()[:63])]) + word.encode()[:63] for word in words) + b"\xc1"
    size = -(-(len(fields) + 4) // 8)
    area = (bytes([1, size, 0]) + fields).ljust(size * 8 - 1, b"\0")
    header = bytes([1, 0, 0, 0, 1, 0, 0])
    return header + _checksum(header) + area + _checksum(area)


def _checksum(content: bytes) -> bytes:
    return bytes([-sum(content) & 0xFF])
