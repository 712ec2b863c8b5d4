#!/bin/sh
# After installing the package. The daemon is neither enabled nor started: it needs
# a configuration first. An upgrade leaves a running daemon alone; restart it when
# the peer is ready to take over.
set -e
if ! getent group baton >/dev/null; then
	groupadd --system baton
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
