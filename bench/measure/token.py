"""Tokens: validated, issued for a token, issued for a password."""

import json

import load
from cloud import Cloud
from report import Number

from measure import Runs
from measure.floor import Floor

PATH = "/identity/v3/auth/tokens"


class Tokens:
    """Rounds over one cloud. Validations ask for 50 different tokens, as a service's middleware would."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.validate, self.issue, self.password = Runs(), Runs(), Runs()
        identity = {"methods": ["token"], "token": {"id": cloud.token}}
        body = json.dumps({"auth": {"identity": identity, "scope": {"project": {"id": cloud.project}}}}).encode()
        self._issue = load.request("POST", PATH, body=body)
        self._password = load.request("POST", PATH, body=json.dumps(cloud.auth()).encode())
        subjects = [self._new_token(body) for _ in range(50)]
        self._validate = [load.request("GET", PATH, cloud.token, x_subject_token=subject) for subject in subjects]

    def _new_token(self, body: bytes) -> str:
        status, _, headers = self._cloud.call("POST", PATH, json.loads(body))
        if status != 201:
            raise RuntimeError(f"a token for a token: {status}")
        return headers["x-subject-token"]

    def round(self) -> None:
        self.validate.go(self._cloud, _cycle(self._validate), 200)
        self.issue.go(self._cloud, self._issue, 201, seconds=1.0)

    def last(self) -> None:
        """Passwords are slow by intention (bcrypt): two clients for two cores."""
        self.password.go(self._cloud, self._password, 201, clients=2, seconds=2.0)

    def numbers(self, floor: Floor) -> list[Number]:
        constant = floor.constant.rate
        return [
            Number("token validations", self.validate.rate, "/s", 4000, floor=constant, peer="Keystone 319/s",
                   note=self.validate.note),
            Number("  p99", self.validate.ms(0.99), "ms", 100, more=False),
            Number("tokens issued for a token", self.issue.rate, "/s", floor=constant, note=self.issue.note),
            Number("tokens issued for a password", self.password.rate, "/s", note="the same one: it is remembered"),
        ]  # fmt: skip


def _cycle(requests: list[bytes]):  # type: ignore[no-untyped-def]
    while True:
        yield from requests
