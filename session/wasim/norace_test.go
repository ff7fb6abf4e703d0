//go:build !race

package wasim_test

// duplexCount is how many messages each side sends.
const duplexCount = 1000
