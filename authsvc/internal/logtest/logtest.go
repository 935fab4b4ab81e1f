// Package logtest lets tests read a log that is still being written.
//
//	var log logtest.Buffer
//	w := start(t, slog.New(slog.NewJSONHandler(&log, nil)))
//	...
//	if !strings.Contains(log.String(), "ready") {
package logtest

import (
	"bytes"
	"log/slog"
	"sync"
)

// Buffer keeps what is written to it. Its zero value is empty; its methods may be
// called concurrently.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements io.Writer. It does not fail.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns all that has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Logger returns a logger that writes JSON to the buffer.
func (b *Buffer) Logger() *slog.Logger { return slog.New(slog.NewJSONHandler(b, nil)) }
