"""Errors as they stand on the wire. A class's name is its `type` there, so the names are the original agent's."""

from typing import Any


class AgentError(Exception):
    """`message` says what kind of thing went wrong, `details` what it was."""

    code = 500
    message = "An error occurred"

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details

    def __str__(self) -> str:
        return f"{self.message}: {self.details}"

    def shown(self) -> dict[str, Any]:
        return {"type": type(self).__name__, "code": self.code, "message": self.message, "details": self.details}


class InvalidContentError(AgentError):
    code = 400
    message = "Invalid request body"


class InvalidCommandError(InvalidContentError):
    message = "Invalid command"


class InvalidCommandParamsError(InvalidContentError):
    message = "Invalid command parameters"


class Unauthorized(AgentError):
    code = 401
    message = "401 Unauthorized"


class RequestedObjectNotFoundError(AgentError):
    code = 404
    message = "Not found"


class CommandExecutionError(AgentError):
    message = "Command execution failed"


class AgentIsBusy(CommandExecutionError):
    code = 409
    message = "Agent is busy"


class DeviceNotFound(AgentError):
    message = "Error finding the disk device or partition"


class ImageDownloadError(AgentError):
    message = "Error downloading image"


class ImageChecksumError(AgentError):
    message = "Error verifying image checksum"


class InvalidImage(AgentError):
    message = "Image is invalid"


class DeploymentError(AgentError):
    message = "Deploy step failed"


class CleaningError(AgentError):
    message = "Clean step failed"


class BlockDeviceEraseError(AgentError):
    message = "Error erasing block device"


class VersionMismatch(AgentError):
    message = "Hardware managers version mismatch, reload agent with correct version"
