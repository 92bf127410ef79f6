#!/bin/busybox sh
# Init of the test guest: a heartbeat, a checksummed I/O loop, and commands taken from the serial port.
#
# Everything is set on the kernel's command line:
#   guestroom.role=story|shell   story (default) starts heartbeat and I/O; both roles take commands
#   guestroom.hb=MS              heartbeat period, default 100
#   guestroom.io=DEPTHxJOBS|off  requests in flight per job, and jobs; default 8x1
#   guestroom.span=BYTES         part of /dev/vda that is written, default 33554432 (32 MiB)
#   guestroom.rate=N             at most N requests per second, default 0 (no bound)
#   guestroom.touch=MIB|all      RAM to touch before anything else
#   guestroom.modules=NAME,...   kernel modules to load beside those every guest needs, in this order
# Lines for the host start with @@. A command line typed into the port is evaluated, then "@@DONE rc" follows.
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/tools:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
# The kernel's own lines would be mixed into ours; a panic is printed all the same.
dmesg -n 1
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo

while read -r module; do
    if [ -e "/modules/$module.ko" ]; then
        insmod "/modules/$module.ko" || echo "@@FAIL insmod $module"
    fi
done </modules/order

option() { # NAME DEFAULT; given twice, the last one holds, as for the kernel's own
    value=$2
    for word in $(cat /proc/cmdline); do
        case "$word" in
        "guestroom.$1="*) value=${word#*=} ;;
        esac
    done
    echo "$value"
}

for module in $(option modules "" | tr , ' '); do
    insmod "/modules/$module.ko" || echo "@@FAIL insmod $module"
done

start_io() { # DEPTHxJOBS
    tries=0
    while [ ! -b /dev/vda ] && [ "$tries" -lt 50 ]; do
        tries=$((tries + 1))
        usleep 100000
    done
    if [ ! -b /dev/vda ]; then
        echo "@@FAIL no /dev/vda"
        return
    fi
    verify "${1%x*}" "${1#*x}" "$(option span 33554432)" "$(option rate 0)" /dev/vda
    echo "@@FAIL verify ended with $?"
}

touch_mib=$(option touch 0)
if [ "$touch_mib" != 0 ]; then
    touchram "$touch_mib"
fi
echo "@@BOOTED $(cut -d' ' -f1 /proc/uptime)"
if [ "$(option role story)" = story ]; then
    heartbeat "$(option hb 100)" </dev/null &
    io=$(option io 8x1)
    if [ "$io" != off ]; then
        start_io "$io" </dev/null &
    fi
fi

poweroff() { # as the first word typed, at once and without leaving a shell behind
    echo "@@POWEROFF"
    sync
    busybox poweroff -f
}

# read fails when the port hangs up; an init that ends is a kernel panic, so it waits for the port to come back.
while :; do
    while read -r line; do
        eval "$line"
        echo "@@DONE $?"
    done
    sleep 1
    exec </dev/ttyS0
done
