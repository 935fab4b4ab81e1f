package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/authsvc/internal/authority"
	"github.com/authbus/authbus/authsvc/internal/keyring"
	"github.com/authbus/authbus/events"
)

// ResponderConfig configures a [Responder]. Conn, Authority and Keys are required.
type ResponderConfig struct {
	// Conn is the connection that answers, and does nothing else: in particular it
	// is not the one that publishes.
	Conn      *nats.Conn
	Authority *authority.Authority
	Keys      *keyring.Keyring
	// Issuer is named in the reply to auth.keys. Required.
	Issuer string
	// Ready says why no question about the log can be answered now; nil: all can.
	Ready func() error
	// Workers is how many requests are worked on at once, not counting probes; 0 means 16.
	Workers int
	// Log is where failures go; nil means slog.Default().
	Log *slog.Logger
	// Metrics takes the counters; nil means none.
	Metrics prometheus.Registerer
}

const (
	defaultWorkers = 16
	// maxWaiting bounds the requests that wait for a worker, and maxProbes the
	// probes that wait for a read. Whoever comes later is told to come again.
	maxWaiting = 1024
	maxProbes  = 1 << 14
	// Requests that wait take memory: these are above the longest valid ones.
	maxRequest = 64 << 10
	maxProbe   = 8 << 10
	// answerTimeout bounds the work on one request. Who asked has given up by then.
	answerTimeout = 3 * time.Second

	serviceVersion     = "1.0.0"
	serviceDescription = "Answers verifiers: freshness, missing revocations, the state of tokens, keys."
)

// Responder is the NATS micro service "authsvc": it answers the requests of
// verifiers. Any number of replicas share the work.
type Responder struct {
	nc        *nats.Conn
	authority *authority.Authority
	keys      *keyring.Keyring
	issuer    string
	ready     func() error
	log       *slog.Logger
	metrics   *responderMetrics
	often     *rate.Sometimes // bounds what failing requests can make us log

	service micro.Service
	waiting chan job
	probes  probeQueue
	quit    chan struct{}
	done    sync.WaitGroup // the workers and the reader of probes
	once    sync.Once
}

// job is one request and what answers it.
type job struct {
	name   string
	msg    request
	answer answerFunc
}

// StartResponder starts answering.
func StartResponder(cfg ResponderConfig) (*Responder, error) {
	metrics, err := newResponderMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("starting responder: %w", err)
	}
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	r := &Responder{
		nc: cfg.Conn, authority: cfg.Authority, keys: cfg.Keys, issuer: cfg.Issuer, ready: cfg.Ready,
		log: cfg.Log, metrics: metrics, often: &rate.Sometimes{First: 1, Interval: 10 * time.Second},
		waiting: make(chan job, maxWaiting), probes: newProbeQueue(), quit: make(chan struct{}),
	}
	for range cfg.Workers {
		r.done.Go(r.work) // Close ends them
	}
	r.done.Go(r.answerProbes)
	if err := r.serve(); err != nil {
		r.Close()
		return nil, fmt.Errorf("starting responder: %w", err)
	}
	return r, nil
}

// serve registers the service and its endpoints with the bus.
func (r *Responder) serve() error {
	service, err := micro.AddService(r.nc, micro.Config{
		Name: events.ServiceAuthority, Version: serviceVersion, Description: serviceDescription,
		QueueGroup: events.ServiceAuthority,
	})
	if err != nil {
		return err
	}
	r.service = service
	endpoints := []struct {
		name, subject string
		handler       micro.HandlerFunc
	}{
		{"fresh", events.SubjectFresh, r.takeProbe},
		{"range", events.SubjectRange, r.queue("range", r.answerRange)},
		{"status", events.SubjectStatus, r.queue("status", r.answerStatus)},
		{"keys", events.SubjectKeys, r.queue("keys", r.answerKeys)},
		{"verify", events.SubjectVerify, r.queue("verify", r.answerVerify)},
	}
	for _, e := range endpoints {
		if err := service.AddEndpoint(e.name, e.handler, micro.WithEndpointSubject(e.subject)); err != nil {
			return fmt.Errorf("adding endpoint %s: %w", e.name, err)
		}
	}
	if !r.nc.IsConnected() {
		return nil // the client library subscribes as soon as it is
	}
	return r.nc.FlushTimeout(answerTimeout)
}

// queue returns the handler of an endpoint whose requests the workers answer.
func (r *Responder) queue(name string, answer answerFunc) micro.HandlerFunc {
	return func(req micro.Request) {
		j := job{name: name, msg: requestOf(req), answer: answer}
		if !r.accepts(name, j.msg, maxRequest) {
			return
		}
		select {
		case r.waiting <- j:
		default:
			r.refuse(name, j.msg.reply, errOverloaded)
		}
	}
}

func requestOf(req micro.Request) request {
	return request{subject: req.Subject(), reply: req.Reply(), data: req.Data()}
}

// accepts reports whether a request may be answered and may wait. A reply goes to
// an inbox only: see the package comment.
func (r *Responder) accepts(name string, req request, limit int) bool {
	switch {
	case !events.IsInbox(req.reply):
		r.metrics.redirected.Inc()
		r.count(name, "redirected")
		return false
	case len(req.data) > limit:
		r.refuse(name, req.reply, errTooLong)
		return false
	}
	return true
}

// work answers requests until Close, and then those that still wait.
func (r *Responder) work() {
	for {
		select {
		case j := <-r.waiting:
			r.handle(j)
		case <-r.quit:
			for {
				select {
				case j := <-r.waiting:
					r.handle(j)
				default:
					return
				}
			}
		}
	}
}

func (r *Responder) handle(j job) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	reply, err := j.answer(ctx, j.msg.data)
	if err != nil {
		r.refuse(j.name, j.msg.reply, err)
		return
	}
	r.send(j.name, j.msg, reply)
}

// Close stops taking requests, answers those that have arrived, and waits. It
// does not close the connection.
func (r *Responder) Close() {
	r.once.Do(func() {
		if r.service != nil {
			if err := r.service.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				r.log.Warn("stopping the micro service failed", "error", err)
			}
		}
		close(r.quit)
		r.done.Wait()
	})
	r.done.Wait()
}
