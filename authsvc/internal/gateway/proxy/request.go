package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authbus/authbus/authsvc/internal/gateway/routes"
)

// headerSize is about how many bytes the request's header had on the wire.
func headerSize(r *http.Request) (n int64) {
	n = int64(len(r.Method) + len(r.RequestURI) + len(r.Host))
	for name, values := range r.Header {
		for _, value := range values {
			n += int64(len(name) + len(value) + len(": \r\n"))
		}
	}
	return n
}

// isWebSocket reports whether the request asks to become a WebSocket (RFC 6455
// §4.1). No other protocol is ever switched to: what follows a switch escapes
// every rule, and h2c would bring requests.
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") {
		return false
	}
	for token := range tokens(r.Header["Connection"]) {
		if strings.EqualFold(token, "Upgrade") {
			return true
		}
	}
	return false
}

// maxReplay bounds the bodies that are kept for a second try, in bytes.
const maxReplay = 64 << 10

// body is a request's body on its way to the service. Several tries may read it,
// if none has begun before or it is kept.
type body struct {
	reader  io.Reader // nil: there is none
	kept    []byte    // the whole of it, if it is kept
	length  int64
	control *http.ResponseController
	// from and to are the trailers: whatever a client has announced, and what of
	// it a service may see.
	from *http.Request
	to   http.Header
	// secret reports whether values of a trailer must not go on.
	secret func(values []string) bool

	begun, waiting, complete, tooLarge, slow, broken, over atomic.Bool
}

// newBody limits the body of a request, in bytes and in time. A client that stops
// in the middle would hold everything up otherwise: reading from it does not end
// with a context.
func (p *Proxy) newBody(w http.ResponseWriter, r *http.Request, limits routes.Limits) *body {
	b := &body{length: r.ContentLength, from: r, secret: p.anySecret, control: http.NewResponseController(w)}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return b
	}
	b.reader = http.MaxBytesReader(w, r.Body, int64(limits.Body))
	b.within(limits.Time)
	for name := range r.Trailer {
		if isTrailer(name) {
			if b.to == nil {
				b.to = make(http.Header)
			}
			b.to[name] = nil
		}
	}
	return b
}

// within says how long the rest may take to come. A writer without deadlines is left
// alone: it is a test's.
func (b *body) within(d time.Duration) { _ = b.control.SetReadDeadline(time.Now().Add(d)) }

// unlimit lets the rest take its time.
func (b *body) unlimit() {
	if b.reader != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}

// leftover is how long the server may wait for the rest of a body that nobody wants
// any longer, before the connection can bring another request.
const leftover = 500 * time.Millisecond

// end is called when nobody reads any longer.
func (b *body) end() {
	b.over.Store(true)
	if b.reader != nil && !b.complete.Load() {
		b.within(leftover)
	}
}

// keep reads a short body in advance, so that the request can be repeated.
func (b *body) keep() error {
	if b.reader == nil || b.length <= 0 || b.length > maxReplay {
		return nil
	}
	kept, err := io.ReadAll(b)
	if err != nil {
		return err
	}
	b.kept = kept
	return nil
}

// repeatable reports whether a try leaves the body as it was.
func (b *body) repeatable() bool { return b.reader == nil || b.kept != nil || !b.begun.Load() }

// try returns the body for one try.
func (b *body) try() io.ReadCloser {
	switch {
	case b.reader == nil:
		return nil
	case b.kept != nil:
		return io.NopCloser(bytes.NewReader(b.kept))
	default:
		return io.NopCloser(b)
	}
}

// Read reads from the client.
func (b *body) Read(into []byte) (int, error) {
	b.begun.Store(true)
	if b.over.Load() {
		return 0, errors.New("the exchange is over")
	}
	b.waiting.Store(true)
	n, err := b.reader.Read(into)
	b.waiting.Store(false)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case err == nil:
	case errors.Is(err, io.EOF):
		// From here on the server reads to learn whether the client has gone.
		b.complete.Store(true)
		b.unlimit()
		for name := range b.to {
			if values := b.from.Trailer[name]; !b.secret(values) {
				b.to[name] = values
			}
		}
	case errors.As(err, &tooLarge):
		b.tooLarge.Store(true)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.slow.Store(true)
	default:
		b.broken.Store(true)
	}
	return n, err
}
