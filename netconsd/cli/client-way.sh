# Finding the route to the server. The functions return 1 after an error, with the reason in $problem.

find_way() { find_route && check_interface && find_mac; }

find_route() {
    hop='' interface='' source=''
    if [ -n "$INTERFACE" ] && [ ! -e "$interfaces/$INTERFACE" ]; then
        problem="no interface $INTERFACE; the interfaces are: $(cd "$interfaces" && echo *)"
        return 1
    fi
    problem="no route to $SERVER${INTERFACE:+ through $INTERFACE}"
    if have ip; then
        # shellcheck disable=SC2046 # split into words
        read_route $(ip "-$FAMILY" route get "$SERVER" ${INTERFACE:+oif "$INTERFACE"} 2>/dev/null) || return 1
    elif [ "$FAMILY" = 4 ]; then
        read_route_table < "$root/proc/net/route"
    else
        # /proc has a table of IPv6 routes, but none of IPv6 neighbours.
        problem='IPv6 needs the command ip, which is missing (iproute2, or busybox)'
    fi
    [ -n "$interface" ]
}

read_route() { # the words of: ip route get
    case ${1-} in
        local)
            problem="$SERVER is an address of this machine; netconsole can only send to other machines"
            return 1
            ;;
        broadcast | multicast | unreachable | prohibit | blackhole) return 1 ;;
    esac
    while [ $# -gt 1 ]; do
        case $1 in
            via) if [ "$2" = inet6 ]; then hop=${3-}; else hop=$2; fi ;;
            dev) interface=$2 ;;
            src) source=$2 ;;
        esac
        shift
    done
    hop=${hop:-$SERVER}
}

# Reads /proc/net/route; the longest matching mask wins. Its addresses are hexadecimal in the processor's byte order; the
# longer of two masks is the larger number in either order. source stays empty: the kernel uses the interface's address.
read_route_table() {
    # shellcheck disable=SC2046 # split into words
    number=$(printf '0x%s' "$(in_memory_order '%02X%02X%02X%02X' $(echo "$SERVER" | tr . ' '))")
    longest=-1
    read -r _ # the heading
    while read -r device destination gateway flags _ _ _ mask _; do
        if [ $((number & 0x$mask)) -eq $((0x$destination)) ] && [ $((0x$mask)) -gt "$longest" ]; then
            longest=$((0x$mask)) interface=$device hop=$SERVER
            # shellcheck disable=SC2046 # split into words
            [ "$gateway" = 00000000 ] ||
                hop=$(in_memory_order '%d.%d.%d.%d' $(echo "$gateway" | sed 's/../0x& /g'))
            [ $((0x$flags & 0x200)) -eq 0 ] || interface='' # a rejecting route
        fi
    done
    [ -z "$INTERFACE" ] || [ "$interface" = "$INTERFACE" ] || interface=''
}

in_memory_order() { # FORMAT BYTE BYTE BYTE BYTE
    # shellcheck disable=SC2059 # $1 is a format
    case $(cat "$root/sys/kernel/cpu_byteorder" 2>/dev/null) in
        big) printf "$1" "$2" "$3" "$4" "$5" ;;
        *) printf "$1" "$5" "$4" "$3" "$2" ;;
    esac
}

check_interface() {
    device=$interfaces/$interface
    if [ "$(cat "$device/type")" != 1 ]; then # ARPHRD_ETHER
        problem="$interface, the interface towards $SERVER, is not Ethernet: netconsole cannot send through it"
    elif [ -e "$device/master" ]; then
        master=$(readlink "$device/master")
        problem="$interface is part of ${master##*/}, and netconsole sends only through a whole bond, bridge or team"
        problem="$problem: use --interface ${master##*/}"
    else
        return 0
    fi
    return 1
}

# Sets mac to the MAC address of the next hop: the server's if it is on the link, otherwise the router's.
find_mac() {
    mac=$(neighbour)
    [ -z "$mac" ] || return 0
    ask_network &
    give_up=$(($(now) + ANSWER_SECONDS))
    while [ -z "$mac" ] && [ "$(now)" -lt $give_up ]; do
        sleep 0.1 2>/dev/null || sleep 1 # POSIX has no fractions
        mac=$(neighbour)
    done
    [ -n "$mac" ] && return
    problem="$hop does not answer on $interface"
    [ "$hop" = "$SERVER" ] || problem="$problem; it is the router towards $SERVER"
    return 1
}

neighbour() {
    if have ip; then
        # shellcheck disable=SC2046 # split into words
        set -- $(ip neigh show to "$hop" dev "$interface" 2>/dev/null)
        while [ $# -gt 1 ] && [ "$1" != lladdr ]; do shift; done
        echo "${2-}"
    else
        while read -r address _ flags hardware _ device; do
            # Flag 2: complete.
            [ "$address $device" != "$hop $interface" ] || [ $((flags & 2)) -eq 0 ] || echo "$hardware"
        done < "$root/proc/net/arp"
    fi
}

# Any packet to the server makes the kernel ask for the next hop's MAC address; the server need not answer.
ask_network() {
    case $SERVER in
        fe80:*) scoped=$SERVER%$interface ;;
        *) scoped=$SERVER ;;
    esac
    ping -c 1 -W 1 -I "$interface" "$scoped" || ping6 -c 1 -W 1 -I "$interface" "$scoped" ||
        ip neigh replace "$hop" dev "$interface" use || echo | nc -u -w 1 "$scoped" 9
} >/dev/null 2>&1

make_parameter() {
    options=''
    if [ -n "$EXTENDED" ]; then
        options=+
        version=$(uname -r)
        minor=${version#*.}
        minor=${minor%%[!0-9]*}
        # Kernel 6.6 added the option r; older kernels refuse the whole parameter.
        if [ "${version%%.*}" -gt 6 ] || { [ "${version%%.*}" -eq 6 ] && [ "${minor:-0}" -ge 6 ]; }; then options=+r; fi
    fi
    parameter="netconsole=$options$SOURCE_PORT@$source/$interface,$PORT@$SERVER/$mac"
}
