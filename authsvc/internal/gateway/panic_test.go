package gateway_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authbus/authbus/authsvc/authsvctest"
)

// broken is a writer that panics.
type broken struct{ http.ResponseWriter }

func (b broken) WriteHeader(int) { panic("out of order") }

func TestAPanicIsLoggedAndCutsTheAnswerOff(t *testing.T) {
	w := start(t, authsvctest.Config{})
	var log bytes.Buffer
	w.config.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	g := w.replica(t)
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("net/http gets the panic %v", err)
		}
		if !strings.Contains(log.String(), "out of order") || !strings.Contains(log.String(), "panic_test.go") {
			t.Errorf("the log has %q", log.String())
		}
	}()
	g.ServeHTTP(broken{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/nowhere", nil))
}
