# Runs in the v2 guest as process 1: mounts what a host has, runs pytest, says how it ended. Where the code disk holds
# systemd's units, process 1 becomes systemd instead, which runs this again as a service (with the word "tests").
busybox() { /bin/busybox "$@"; }
if [ "$1" != tests ]; then
    busybox mount -t proc proc /proc
    busybox mount -t sysfs sys /sys
    busybox mount -t devtmpfs dev /dev
    busybox mount -t tmpfs tmp /tmp
    busybox mount -t tmpfs run /run
    /bin/busybox --install -s /bin 2>/dev/null
fi
export PATH=/bin:/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8 GUESTROOM_INGUEST=1 GUESTROOM_IMAGE=/code/guest-image
LD_LIBRARY_PATH=$(cat /etc/library-path)
[ -n "$LD_LIBRARY_PATH" ] && export LD_LIBRARY_PATH
if [ -d /code/systemd ]; then
    if [ "$1" != tests ]; then
        mkdir -p /etc/systemd/system
        cp /code/systemd/* /etc/systemd/system/
        echo 3f1c0000000040008000000000000000 >/etc/machine-id
        exec /lib/systemd/systemd --unit=inguest.target --log-target=kmsg --log-level=warning
    fi
    export GUESTROOM_INGUEST=systemd
    exec >/dev/ttyS0 2>&1
else
    busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
export PYTHONPATH=/code/src:/site PYTHONDONTWRITEBYTECODE=1
cd /code || poweroff -f
python=$(cat /code/python)
eval "set -- $(cat /code/arguments)"
"$python" -m pytest -p no:cacheprovider --color=no "$@" </dev/null
printf '\n@@INGUEST %s\n' $?
# The console is slower than the end.
sleep 1
poweroff -f
