"""Baseboard management controllers: power, boot device, media and console of a Node."""
