# Runs in the v2 guest as process 1: mounts what a host has, runs pytest, says how it ended.
busybox() { /bin/busybox "$@"; }
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mount -t tmpfs tmp /tmp
busybox mount -t tmpfs run /run
busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin:/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8 GUESTROOM_INGUEST=1 GUESTROOM_IMAGE=/code/guest-image
LD_LIBRARY_PATH=$(cat /etc/library-path)
[ -n "$LD_LIBRARY_PATH" ] && export LD_LIBRARY_PATH
export PYTHONPATH=/code/src:/site PYTHONDONTWRITEBYTECODE=1
cd /code || poweroff -f
python=$(cat /code/python)
eval "set -- $(cat /code/arguments)"
"$python" -m pytest -p no:cacheprovider --color=no "$@" </dev/null
printf '\n@@INGUEST %s\n' $?
# The console is slower than the end.
sleep 1
poweroff -f
