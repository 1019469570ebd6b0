# What ./check and ./demo ask of the machine: Debian packages and a Rust toolchain.
# Sourced by both, so that each package stands here once, with the reason it is needed.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the lists are read by those who source this

# The oldest Rust that builds this workspace: `rust-version` in Cargo.toml.
RUST_MINIMUM=1.90

# Compiling, and running the host against its devices.
PACKAGES=(
    gcc libc6-dev        # links Rust programs; compiles SQLite and the cryptographic library
    pkg-config           # finds the TPM libraries
    libtss2-dev          # TPM libraries, with the drivers for a device and for swtpm
    swtpm                # TPM emulator
    softhsm2             # PKCS#11 token in software
    ca-certificates      # cargo fetches crates over TLS
)
# Only what the demo types at the prompt.
PACKAGES_DEMO=(
    curl                 # the plainest client
    openssl              # computes the same HMAC a second time; verifies our signatures in the tests
)
# Only what the tests run against.
PACKAGES_CHECK=(
    libp11-kit-dev                                  # the header of PKCS#11, for a module of the tests
    libnss3 libnss3-tools                           # a second PKCS#11 module, and its tool
    tpm2-tools                                      # extends PCRs from outside
    g++                                             # compiles the plugin header as C++ too
    tpm2-abrmd libtss2-tcti-tabrmd0 dbus-daemon     # a TPM resource manager on a private bus
    mosquitto                                       # an MQTT broker, and its password tool
    systemd systemd-container                       # a real systemd, booted in a container
    util-linux mount perl-base                      # tests become other users, and mount
    python3-venv                                    # Microsoft's Python libraries, for comparison
)
# Their Node.js library too. Node.js often comes from elsewhere than Debian.
command -v npm >/dev/null || PACKAGES_CHECK+=(nodejs npm)

# Ends with a message: what is wrong, then what to do.
fail() {
    printf '\n%s: %s\n' "${0##*/}" "$1" >&2
    shift
    if (($# > 0)); then printf '  %s\n' "$@" >&2; fi
    exit 1
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "system packages are missing, and only root may install them" \
            "install sudo, or run as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
}

# Prints those of the named packages that are not installed.
not_installed() {
    local package
    for package in "$@"; do
        # The status has a blank after it when a package is there for several architectures.
        case " $(dpkg-query --show --showformat='${db:Status-Status} ' "$package" 2>/dev/null) " in
            *" installed "*) ;;
            *) echo "$package" ;;
        esac
    done
}

# Installs the named packages where they are missing.
install_packages() {
    local missing service
    local -A services=([tpm2-abrmd]=tpm2-abrmd.service [mosquitto]=mosquitto.service)
    local -a started=()
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        fail "this is not a Debian system" "the packages, by their Debian names: $*"
    fi
    mapfile -t missing < <(not_installed "$@")
    if ((${#missing[@]} == 0)); then return; fi
    echo "Installing missing system packages: ${missing[*]}"
    for service in "${!services[@]}"; do
        [[ " ${missing[*]} " == *" $service "* ]] && started+=("${services[$service]}")
    done
    # An old list names files that the servers no longer have.
    as_root apt-get -qq -o DPkg::Lock::Timeout=120 update ||
        echo "The package lists could not all be brought up to date; trying with what is there." >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        install --no-install-recommends "${missing[@]}" </dev/null >/dev/null ||
        fail "apt-get could not install: ${missing[*]}" "its message is above"
    mapfile -t missing < <(not_installed "${missing[@]}")
    if ((${#missing[@]} > 0)); then
        fail "apt-get says that all is well, but these are not installed: ${missing[*]}"
    fi
    # The tests want the programs. As services they would take the machine's own TPM, and a port.
    if ((${#started[@]} > 0)) && [[ -d /run/systemd/system ]]; then
        as_root systemctl --quiet disable --now "${started[@]}"
    fi
}

# Fails unless cargo is there and new enough.
require_rust() {
    local found
    command -v cargo >/dev/null || fail "cargo is not installed" \
        "install Rust $RUST_MINIMUM or newer: https://rustup.rs"
    found=$(cargo --version | cut -d ' ' -f 2)
    if [[ $(printf '%s\n' "$RUST_MINIMUM" "$found" | sort --version-sort | head -n 1) != "$RUST_MINIMUM" ]]; then
        fail "cargo $found is too old; this needs $RUST_MINIMUM or newer" \
            "update it: rustup update stable (Debian 12's own package is older: https://rustup.rs)"
    fi
}
