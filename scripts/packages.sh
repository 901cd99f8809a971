# Sourced by the other scripts: installing the system's packages, where that is possible.
# shellcheck shell=bash

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env "$@"
    else
        sudo -n env "$@"
    fi
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

# Installs the named packages without a question. False where that cannot be done.
install_packages() {
    may_install || return 1
    echo "Installing $* with apt-get" >&2
    # A machine that was never updated knows no packages; one that was may know them well enough.
    apt_install "$@" 2>/dev/null || { as_root apt-get update -qq >/dev/null && apt_install "$@"; }
}

apt_install() {
    as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

how_to_install() {
    if command -v apt-get >/dev/null; then
        echo "sudo apt-get update && sudo apt-get install $*"
    else
        echo "the packages that your system calls $*, or the like"
    fi
}
