#!/bin/sh
# Make this clone ready to run: missing Debian packages (as root), then the Python environment in .venv from
# requirements.lock. Nothing that is there already is touched; services that packages would start stay stopped, and
# those they would start at the next boot are disabled again: Hagane starts its own. Arguments: more groups of packages.
set -eu
cd "$(dirname "$0")/.."
list=src/hagane/lab/packages.txt

missing() { # missing GROUP...: packages whose proving file is not there
  grep -v '^#' "$list" | while read -r group package proof; do
    case " $* " in *" $group "*) ;; *) continue ;; esac
    # shellcheck disable=SC2086  # the proof is a pattern
    ls -d $proof >/dev/null 2>&1 || printf '%s ' "$package"
  done
}

enabled_units() { find /etc/systemd/system -type l -path '*.wants/*' -printf '%f\n' 2>/dev/null | sort -u; }

install() {
  echo "installing Debian packages: $*"
  units=$(mktemp)
  enabled_units >"$units"
  policy=
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $* >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends $*
  }
  if command -v systemctl >/dev/null; then
    enabled_units | comm -13 "$units" - | xargs -r systemctl disable --quiet 2>/dev/null || true
  fi
  rm -f "$units" $policy
}

lock=requirements.lock
need=$(missing python real test "$@")
if [ -n "$need" ]; then
  if [ "$(id -u)" = 0 ]; then
    install "$need"
  else
    echo "Debian packages are missing. For real devices: sudo apt-get install --no-install-recommends $need"
    if missing python | grep -q venv; then exit 1; fi
  fi
fi

if [ ! -e /usr/include/libvirt/libvirt.h ]; then
  # Without libvirt's headers everything but real devices works.
  lock=$(mktemp)
  awk '/^[a-z]/ { skip = /^libvirt-python==/ } !skip' requirements.lock >"$lock"
  echo "without libvirt-dev: \`hagane up --sim\` only"
fi

stamp=.venv/.lock
if [ ! -x .venv/bin/pip ] || ! cmp -s "$lock" $stamp; then
  [ -x .venv/bin/pip ] || python3 -m venv --clear .venv
  echo "installing Python packages into .venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
  # The package itself runs from this clone.
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$PWD/src" >"$site/hagane.pth"
  printf '#!%s/.venv/bin/python\nfrom hagane.__main__ import main\n\nmain()\n' "$PWD" >.venv/bin/hagane
  chmod 755 .venv/bin/hagane
  cp "$lock" $stamp
fi
[ "$lock" = requirements.lock ] || rm -f "$lock"
touch .venv/.ready
