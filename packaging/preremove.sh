#!/bin/sh
# Before removing the package, not before upgrading it ($1 is "upgrade" for dpkg
# and 1 for rpm then): stop as planned, so that the peer takes over without loss,
# and a real server is as it was before.
set -e
case "$1" in
upgrade | 1) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now baton.service baton-realserver.service || true
fi
