//go:build race

package wasim_test

// duplexCount is smaller under the race detector, which takes ten times as long.
const duplexCount = 200
