package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// exchange is one request and its answer, as the log and the metrics see it.
type exchange struct {
	http.ResponseWriter
	requestID string
	address   string
	began     time.Time

	route  string // the pattern that matched, or "none"
	sub    string // whoever asked, once known
	status int    // 0 until the header is sent
	code   string // of the problem, where there was one
	cause  error  // what the caller is not told
}

func newExchange(w http.ResponseWriter, address string) *exchange {
	return &exchange{
		ResponseWriter: w, requestID: rand.Text(), address: address,
		began: time.Now(), route: "none",
	}
}

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer is under way.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(b)
	if err != nil {
		return n, fmt.Errorf("writing the answer: %w", err)
	}
	return n, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// fail answers with the problem that err is, unless the answer is under way.
func (x *exchange) fail(err error, oauth bool) {
	p := asProblem(err)
	x.code, x.cause = p.code, p.cause
	if x.status == 0 {
		writeProblem(x, p, x.requestID, oauth)
	}
}

// recovered turns a panic into an answer and a log line. It must be deferred.
func (x *exchange) recovered(log *slog.Logger) {
	p := recover()
	switch p {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(p)
	}
	log.Error("a request made the service panic", "request_id", x.requestID, "route", x.route,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	x.fail(errInternal.with(fmt.Errorf("panic: %v", p)), false)
}

// log writes the access log's line. It holds nothing that a caller could have put
// a secret into: no query, no header but the User-Agent, no body, and the route
// instead of the path.
func (x *exchange) log(ctx context.Context, log *slog.Logger, r *http.Request) {
	level := slog.LevelInfo
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.requestID),
		slog.String("route", x.route),
		slog.String("method", methodLabel(r.Method)),
		slog.Int("status", x.status),
		slog.Float64("ms", float64(time.Since(x.began).Microseconds())/1000),
		slog.String("address", x.address),
		slog.String("user_agent", userAgent(r)),
	}
	if x.sub != "" {
		attrs = append(attrs, slog.String("sub", x.sub))
	}
	if x.code != "" {
		attrs = append(attrs, slog.String("code", x.code))
	}
	if x.cause != nil {
		attrs = append(attrs, slog.String("cause", x.cause.Error()))
	}
	log.LogAttrs(ctx, level, "request", attrs...)
}
