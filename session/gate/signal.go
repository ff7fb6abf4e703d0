package gate

import "go.mau.fi/libsignal/logger"

// libsignal makes its logger at first use, without a lock: the first two sessions of a process race for it. And its
// default prints to standard output, also when a message is merely tried against an older session. Set before anything
// runs, both are gone; whatsmeow reports what matters.
var _ = silenceSignal()

func silenceSignal() bool {
	var silent logger.Loggable = silentLogger{}
	logger.Setup(&silent)
	return true
}

type silentLogger struct{}

// Debug implements [logger.Loggable].
func (silentLogger) Debug(string, string) {}

// Info implements [logger.Loggable].
func (silentLogger) Info(string, string) {}

// Warning implements [logger.Loggable].
func (silentLogger) Warning(string, string) {}

// Error implements [logger.Loggable].
func (silentLogger) Error(string, string) {}

// Configure implements [logger.Loggable].
func (silentLogger) Configure(string) {}
