package bench

import (
	"bytes"
	"os"
	"strconv"
)

// loopbackPorts is how many connections may lead from this machine to one address of it, where Linux says so.
func loopbackPorts() (n int, known bool) {
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(raw)
	if len(fields) != 2 { //nolint:mnd // from and to
		return 0, false
	}
	from, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return 0, false
	}
	to, err := strconv.Atoi(string(fields[1]))
	return to - from + 1, err == nil
}
