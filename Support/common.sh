# What the setup scripts share. Sourced by them, never run.

# Where stock QEMUs and the guest's kernel are kept; nothing of it belongs to one checkout.
LAB=${MULTIFD_LAB:-${HOME:-/tmp}/.cache/multifd-lab}
export LAB DEBIAN_FRONTEND=noninteractive

say() { echo "setup: $*"; }
warn() { echo "setup: warning: $*" >&2; }
die() { echo "setup: error: $*" >&2; exit 1; }

# Runs a command as root: directly, or by sudo where there is one that does not need to ask.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo DEBIAN_FRONTEND=noninteractive "$@"
  else
    warn "root is needed for: $*"
    return 1
  fi
}

# Brings the package lists up to date, once per run of setup (the marker is shared by its scripts).
apt_lists() {
  [ -n "${SETUP_MARKS:-}" ] && [ -e "$SETUP_MARKS/lists" ] && return 0
  say "apt-get update"
  as_root apt-get update -qq </dev/null || warn "apt-get update failed: trying with the lists at hand"
  [ -z "${SETUP_MARKS:-}" ] || touch "$SETUP_MARKS/lists"
}

# A program for FILE that is the QEMU of a peer's root folder, for where nothing can chroot: with that folder's own libraries.
peer_program() { # FILE ROOT
  cat >"$1" <<END
#!/bin/sh
export QEMU_MODULE_DIR=$2/usr/lib/x86_64-linux-gnu/qemu
exec $2/lib64/ld-linux-x86-64.so.2 --library-path $2/usr/lib/x86_64-linux-gnu $2/usr/bin/qemu-system-x86_64 \\
  -L $2/usr/share/qemu -L $2/usr/share/seabios "\$@"
END
  chmod 755 "$1"
}

apt_install() {
  apt_lists
  say "apt-get install $*"
  as_root apt-get install -qqy --no-install-recommends "$@" </dev/null >/dev/null
}
