package broker

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog hands what nats-server logs to slog. The server's notices are
// details to whoever runs the auth service.
type serverLog struct {
	log   *slog.Logger
	fatal chan string // the first reason why the server cannot run
}

func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords") {
		return // they are random, of this process alone, and in no file
	}
	l.log.Warn("nats: " + fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	l.log.Error("nats: " + fmt.Sprintf(format, v...))
}
func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) Fatalf(format string, v ...any) {
	reason := fmt.Sprintf(format, v...)
	select {
	case l.fatal <- reason:
	default:
		l.log.Error("nats: " + reason)
	}
}
