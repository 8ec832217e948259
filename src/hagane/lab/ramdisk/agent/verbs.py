"""What the ramdisk can be told to do: each command's name, its parameters as in the original agent, its answer."""

import base64
import io
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from . import blocks, efi, image, prepare
from .commands import Command, Verb
from .disks import disks, root_disk
from .errors import CleaningError, CommandExecutionError, DeploymentError, DeviceNotFound, VersionMismatch
from .facts import MANAGER, inventory
from .place import Place

VERSIONS = {MANAGER["name"]: MANAGER["version"]}
CLEAN = (("erase_devices", 10), ("erase_devices_metadata", 99), ("erase_devices_express", 0))
DEPLOY = (("erase_devices_metadata", 0), ("write_image", 0))


class Verbs:
    """The commands, and what they remember of each other. `config` is what lookup said; `quit` ends the service."""

    def __init__(self, place: Place, config: Callable[[], dict[str, Any]], quit: Callable[[], None]) -> None:
        self.place, self.config, self.quit = place, config, quit
        self.node: dict[str, Any] | None = None
        self.cached: str | None = None
        self.uuids: dict[str, Any] | None = None

    def all(self) -> dict[str, Verb]:
        return {
            "standby.prepare_image": Verb(self.prepare_image, True, image.check),
            "standby.get_partition_uuids": Verb(lambda: self.uuids or {}),
            "standby.sync": Verb(os.sync),
            "standby.power_off": Verb(lambda command: self._down("poweroff"), True),
            "standby.run_image": Verb(lambda command: self._down("reboot"), True),
            "image.install_bootloader": Verb(self.install_bootloader, True),
            "deploy.get_deploy_steps": Verb(lambda node, ports: self._steps("deploy", node)),
            "deploy.execute_deploy_step": Verb(self._executor("deploy", DeploymentError), True),
            "clean.get_clean_steps": Verb(lambda node, ports: self._steps("clean", node)),
            "clean.execute_clean_step": Verb(self._executor("clean", CleaningError), True),
            "service.get_service_steps": Verb(lambda node, ports: self._steps("service", node)),
            "service.execute_service_step": Verb(self._executor("service", DeploymentError), True),
            "poll.get_hardware_info": Verb(lambda: inventory(self.place)),
            "rescue.finalize_rescue": Verb(self.finalize_rescue),
            "log.collect_system_logs": Verb(self.logs),
            "system.lockdown": Verb(self.lockdown),
        }

    # -- writing -----------------------------------------------------------------------------------------------

    def prepare_image(self, command: Command, image_info: dict[str, Any], configdrive: str | None = None) -> str:
        drive = configdrive if configdrive is not None else image_info.pop("configdrive", None)
        disk = root_disk(self.place, self.node)
        if self.cached != image_info["id"] or drive is not None:
            self.cached = None
            mode, label = prepare.boots_from(self.place, self.node, image_info)
            writer = prepare.Writer(self.place, disk, command, md5=bool(self.config().get("agent_md5_checksum_enable")))
            self.uuids = writer.run(image_info, drive, mode, label)
            self.cached = image_info["id"]
        uuid = (self.uuids or {}).get("root uuid")
        return f"image ({image_info['id']}) written to device {disk['name']} root_uuid={uuid}"

    def install_bootloader(
        self, command: Command, root_uuid: str | None, efi_system_part_uuid: str | None = None,
        prep_boot_part_uuid: str | None = None, target_boot_mode: str = "bios",
        ignore_bootloader_failure: bool | None = None,
    ) -> None:  # fmt: skip
        disk = root_disk(self.place, self.node)
        try:
            uefi = self.place.boot_mode == "uefi" and self.place.real
            if uefi and efi.add_entry(self.place, disk["name"], disk["size"], disk["logical_sectors"]):
                return
            if efi_system_part_uuid or (self.uuids or {}).get("partitions"):
                raise CommandExecutionError("This ramdisk has no GRUB to install into a partition image: use the stock "
                    "ironic-python-agent ramdisk, or a whole-disk image, which brings its boot loader.")  # fmt: skip
            if uefi:
                raise DeviceNotFound(f"No EFI loader was found on {disk['name']}: is the image made for UEFI?")
        except (OSError, DeploymentError, CommandExecutionError, DeviceNotFound) as error:
            if not ignore_bootloader_failure:
                raise
            print(f"agent: boot loader: {error}", flush=True)

    # -- steps -------------------------------------------------------------------------------------------------

    def _steps(self, kind: str, node: dict[str, Any]) -> dict[str, Any]:
        self.node = node
        shown = [{"step": name, "priority": priority, "interface": "deploy", "reboot_requested": False}
                 for name, priority in {"clean": CLEAN, "deploy": DEPLOY}.get(kind, ())]  # fmt: skip
        if kind == "clean":
            shown = [step | {"abortable": True} for step in shown]
        return {f"{kind}_steps": {"HaganeHardwareManager": shown}, "hardware_manager_version": VERSIONS}

    def _executor(self, kind: str, failure: type[DeploymentError] | type[CleaningError]) -> Callable[..., Any]:
        def execute(
            command: Command, step: dict[str, Any], node: dict[str, Any], ports: Any, **more: Any
        ) -> dict[str, Any]:
            self.node = node
            version = more.pop(f"{kind}_version", None)
            if version is not None and version != VERSIONS:
                raise VersionMismatch(f"wanted {version}, have {VERSIONS}")
            if "step" not in step:
                raise ValueError(f'Malformed {kind}_step, no "step" key: {step}')
            act = getattr(self, f"step_{step['step']}", None)
            if act is None:
                raise failure(f"This ramdisk knows no {kind} step {step['step']!r}.")
            result = act(command, **more, **(step.get("args") or {}))
            return {f"{kind}_result": result, f"{kind}_step": step}

        return execute

    def step_write_image(self, command: Command, image_info: dict[str, Any], configdrive: str | None = None) -> str:
        image.check({"image_info": image_info})
        return self.prepare_image(command, image_info, configdrive)

    def step_erase_devices_metadata(self, command: Command, **options: Any) -> None:
        for disk in disks(self.place):
            blocks.wipe_metadata(self.place, disk)

    def step_erase_devices(self, command: Command, **options: Any) -> dict[str, str]:
        found = disks(self.place)
        total, how = sum(disk["size"] for disk in found), {}
        before = 0
        for disk in found:
            done_before = before

            def report(done: int, _: int, base: int = done_before) -> None:
                percent = min(100, (base + done) * 100 // total)
                command.result = {"progress": {"done": base + done, "total": total, "percent": percent, "rate": None}}

            how[disk["name"]] = blocks.erase(self.place, disk, report)
            before += disk["size"]
        return how

    step_erase_devices_express = step_erase_devices

    # -- the end -----------------------------------------------------------------------------------------------

    def finalize_rescue(self, rescue_password: str = "", hashed: bool = False) -> None:
        if not hashed:
            done = subprocess.run(
                ["cryptpw", "-m", "sha512", "-P", "0"],
                input=rescue_password,
                text=True,
                capture_output=True,
                check=True,
            )
            rescue_password = done.stdout.strip()
        if not rescue_password.startswith("$") or ":" in rescue_password or "\n" in rescue_password:
            raise CommandExecutionError("The rescue password is not a hash that this ramdisk knows.")
        etc = self.place.path("etc")
        _account(etc / "passwd", "rescue", "rescue:x:0:0:rescue:/root:/bin/sh")
        _account(etc / "shadow", "rescue", f"rescue:{rescue_password}:19700:0:99999:7:::")
        (etc / ".rescued").touch()
        if self.place.real:
            subprocess.run(["/etc/hagane/rescue"], check=True)
        self.quit()

    def lockdown(self) -> None:
        self.quit()

    def _down(self, verb: str) -> None:
        os.sync()
        if self.place.real:
            # The answer to whoever asked should be out before the network goes.
            threading.Thread(target=_later, args=(verb,), daemon=False).start()
        else:
            self.place.path("run/down").write_text(verb)

    def logs(self) -> dict[str, str]:
        """The kernel's and our own log, as a gzipped tar archive in base64."""
        import tarfile  # here, because it is slow to load and rarely needed

        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for name, content in self._logs().items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime = len(content), int(time.time())
                archive.addfile(entry, io.BytesIO(content))
        return {"system_logs": base64.b64encode(out.getvalue()).decode()}

    def _logs(self) -> dict[str, bytes]:
        logs = {
            "agent.log": self.place.text("var/log/agent.log").encode(),
            "cmdline": self.place.text("proc/cmdline").encode(),
        }
        if self.place.real:
            logs["dmesg"] = subprocess.run(["dmesg"], capture_output=True, check=False).stdout
        return logs


def _later(verb: str) -> None:
    time.sleep(0.5)
    subprocess.run([verb, "-f"], check=False)


def _account(file: Any, name: str, line: str) -> None:
    kept = [old for old in file.read_text().splitlines() if not old.startswith(f"{name}:")] if file.exists() else []
    file.write_text("\n".join([*kept, line]) + "\n")
    if file.name == "shadow":
        file.chmod(0o600)
