"""Switches of other makers, emulated: their command lines and NETCONF over real SSH, holding a real configuration, with
faults to rehearse. They forward no frames; the rack's own switch (Open vSwitch) does."""
