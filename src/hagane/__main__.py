"""The command line: up, down, status, doctor, explain, backup, policy, tempest-conf."""

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from hagane import __version__, process
from hagane.config import Config, load
from hagane.errors import HaganeError

CONFIG = click.option("--config", "path", type=click.Path(dir_okay=False, path_type=Path), help="Settings (TOML).")
STATE = click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps everything.")
SIM = click.option("--sim", is_flag=True, help="Simulated devices: no root, nothing but Python.")


def settings(path: Path | None, state: Path | None, *, sim: bool, **more: Any) -> Config:
    """The settings of a command. A simulated cloud lives in the user's own folder unless told otherwise."""
    if state is None and sim and path is None:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "hagane-sim"
    return load(path, state=str(state.absolute()) if state else None, sim=sim or None, **more)


@click.group()
@click.version_option(__version__)
def cli() -> None:
    """Hagane: a cloud in one process."""


@cli.command()
@CONFIG
@STATE
@SIM
@click.option("--listen", help="Address and port of the API (127.0.0.1:8774).")
@click.option("--hosts", type=int, help="How many Hosts to make on this machine (1).")
@click.option("--detach", is_flag=True, help="Come back when the cloud is ready; it goes on in the background.")
@click.option("--log-level", help="debug, info, warning or error.")
def up(path: Path | None, state: Path | None, *, sim: bool, listen: str | None, hosts: int | None, detach: bool,
       log_level: str | None) -> None:  # fmt: skip
    """Start the cloud; Ctrl-C ends this process, the machines run on."""
    config = settings(path, state, sim=sim, listen=listen, hosts=hosts, log_level=log_level)
    known = process.find(config)
    port = config.listen.rpartition(":")[2]
    if known is not None and (config.database_url.startswith("sqlite") or known.url.endswith(f":{port}")):
        click.echo(f"Hagane runs already: {known.url} (process {known.pid}).")
        return
    if detach:
        _detach(config)
        return
    from hagane import logs, serve

    logs.configure(config.log_format, config.log_level)
    asyncio.run(serve.run(config, lambda text: _said(config, text)))


def _said(config: Config, text: str) -> None:
    click.echo(f"hagane: {text}", err=True)
    if text.startswith("ready"):
        click.echo(_hint(config))


def _hint(config: Config) -> str:
    return (
        f"  export OS_CLIENT_CONFIG_FILE={config.state}/clouds.yaml OS_CLOUD=hagane\n"
        "  openstack server list\n  hagane status"
    )


def _detach(config: Config) -> None:
    """Run the same command in a session of its own and wait until it is ready or has ended."""
    import subprocess

    config.state.mkdir(parents=True, exist_ok=True)
    log = (config.state / "hagane.log").open("ab")
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]
    child = subprocess.Popen(
        [sys.executable, "-m", "hagane", *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while (known := process.find(config)) is None:
        if child.poll() is not None:
            tail = (config.state / "hagane.log").read_text(errors="replace").splitlines()[-15:]
            raise click.ClickException("The cloud did not start:\n  " + "\n  ".join(tail))
        time.sleep(0.05)
    click.echo(f"Hagane is ready at {known.url}; its log is {config.state}/hagane.log")
    click.echo(_hint(config))


@cli.command()
@CONFIG
@STATE
@SIM
@click.option("--delete", is_flag=True, help="Also delete all data: database, disks, images.")
def down(path: Path | None, state: Path | None, *, sim: bool, delete: bool) -> None:
    """Stop the cloud, its machines and its networks. Data stays unless --delete is given."""
    from hagane.operate import down as operation

    config = settings(path, state, sim=sim)
    for line in operation.down(config, delete=delete):
        click.echo(line)


@cli.command()
@CONFIG
@STATE
@SIM
def status(path: Path | None, state: Path | None, *, sim: bool) -> None:
    """What runs: the process, its daemons, its Hosts, its work."""
    from hagane.operate import status as operation

    operation.show(settings(path, state, sim=sim))


@cli.command()
@CONFIG
@STATE
@SIM
def doctor(path: Path | None, state: Path | None, *, sim: bool) -> None:
    """Check this machine, and every difference between rows and world; each finding has its remedy."""
    from hagane.operate import doctor as operation

    findings = operation.examine(settings(path, state, sim=sim))
    for finding in findings:
        click.echo(f"{finding.mark} {finding.what}" + (f"\n    remedy: {finding.remedy}" if finding.remedy else ""))
    if any(finding.bad for finding in findings):
        sys.exit(1)


@cli.command()
@CONFIG
@STATE
@SIM
@click.argument("kind")
@click.argument("name")
def explain(path: Path | None, state: Path | None, kind: str, name: str, *, sim: bool) -> None:
    """Why a thing is in its state: what it waits for, since when, until when, what to do."""
    from hagane.operate import client

    for line in client.explain(settings(path, state, sim=sim), kind, name):
        click.echo(line)


@cli.command()
@CONFIG
@STATE
@SIM
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(path: Path | None, state: Path | None, file: Path, *, sim: bool) -> None:
    """Copy the database to a file while the cloud runs."""
    from hagane.operate import backup as operation

    operation.backup(settings(path, state, sim=sim), file)
    click.echo(f"Saved to {file}. Keep it with the keys folder of {settings(path, state, sim=sim).state}.")


@cli.command()
@click.argument("service")
def policy(service: str) -> None:
    """Print a service's policy rules with their defaults, as a policy.yaml to start from."""
    from hagane.api.policy import sample

    click.echo(sample(service), nl=False)


@cli.command()
@click.option("--with", "more", multiple=True, metavar="PACKAGE", help="A Debian package to have whole in it, as well.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def image(file: Path, more: tuple[str, ...]) -> None:
    """Build the small guest image (kernel, busybox, ssh) from Debian packages."""
    import shutil

    from hagane.lab import guest

    shutil.copyfile(guest.build(more=more).path, file)
    click.echo(f"openstack image create --disk-format qcow2 --container-format bare --file {file} guest")


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def lab(arguments: tuple[str, ...]) -> None:
    """A rack of virtual bare-metal servers beside the cloud: up, status, fault, down."""
    from hagane.operate.lab import lab as group

    group.main(list(arguments), "hagane lab", standalone_mode=False)


@cli.command()
@CONFIG
@STATE
@SIM
@click.option("--remove", is_flag=True, help="Take it out of the cloud again.")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
def enroll(path: Path | None, state: Path | None, file: Path, *, sim: bool, remove: bool) -> None:
    """Take a rack into the cloud: its switches, gateways, Nodes and Nics. Again changes nothing."""
    from hagane.operate import enroll as operation
    from hagane.operate import withdraw

    config = settings(path, state, sim=sim)
    for line in withdraw.withdraw(config, file) if remove else operation.enroll(config, file):
        click.echo(line)


@cli.command(name="tempest-conf")
@CONFIG
@STATE
@SIM
@click.option("--validation/--no-validation", default=None, help="Log in to machines by ssh (where they are real).")
@click.option("--tools", is_flag=True, help="Also make an image with real network tools, for Neutron's own scenarios.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
def tempest_conf(path: Path | None, state: Path | None, file: Path | None, *, sim: bool,
                 validation: bool | None, tools: bool) -> None:  # fmt: skip
    """Write the configuration with which Tempest tests this cloud; makes the images and flavors that it needs."""
    from hagane.operate import tempest

    done = tempest.write(settings(path, state, sim=sim), file, validation=validation, tools=tools)
    for line in done.lines:
        click.echo(line, err=True)
    if file is None:
        click.echo(done.content, nl=False)


def main() -> None:
    """Run the command line; foreseen errors are one line, without a traceback."""
    try:
        cli.main(standalone_mode=False)
    except HaganeError as error:
        click.echo(f"hagane: {error.message}" + (f"\n  {error.detail}" if error.detail else ""), err=True)
        sys.exit(1)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.exit(130)


if __name__ == "__main__":
    main()
