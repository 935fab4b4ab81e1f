package ca

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"golang.org/x/time/rate"

	"github.com/authbus/authbus/events"
)

// RenewerConfig configures a [Renewer]. CA, Conn and Revoked are required.
type RenewerConfig struct {
	CA *CA
	// Conn is the connection that answers. It subscribes to auth.ca.renew and
	// $SRV.>, and should be able to publish to inboxes only (and to ask what a
	// verifier asks): whoever asks chooses where the answer goes.
	Conn *nats.Conn
	// Revoked is the CheckCertificate method of a verifier.
	Revoked func(id string) error
	// Lifetime is that of the certificates; 0 means DefaultLifetime.
	Lifetime time.Duration
	// Log is where issuances and failures go; nil means slog.Default().
	Log *slog.Logger
}

const (
	renewWorkers = 2
	maxWaiting   = 256
	maxRequest   = 64 << 10

	serviceVersion     = "1.0.0"
	serviceDescription = "Renews certificates of services that prove the one they have."
)

// Renewer is the NATS micro service "authsvc-ca". It gives the successor of a
// certificate to whoever proves that it holds the key, while the certificate is
// valid, in the records, and not revoked as far as a fresh verifier knows; where that
// cannot be told it refuses with 503. The identity is copied from the certificate and
// the key must be new. Several may run on one directory.
type Renewer struct {
	nc      *nats.Conn
	decider *decider
	log     *slog.Logger
	often   *rate.Sometimes // bounds what refused requests can make us log
	ending  *rate.Sometimes // says once a day that the CA will end

	service micro.Service
	waiting chan renewal
	done    sync.WaitGroup // the workers
	quit    chan struct{}
	once    sync.Once
}

// renewal is one request.
type renewal struct {
	reply string
	data  []byte
}

// StartRenewer starts answering auth.ca.renew.
func StartRenewer(cfg RenewerConfig) (*Renewer, error) {
	if cfg.CA == nil || cfg.Conn == nil || cfg.Revoked == nil {
		return nil, errors.New("starting the renewer: CA, Conn and Revoked are required")
	}
	if cfg.Lifetime != 0 {
		if err := CheckLifetime(cfg.Lifetime); err != nil {
			return nil, fmt.Errorf("starting the renewer: Lifetime: %w", err)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	r := &Renewer{
		nc: cfg.Conn, log: cfg.Log, often: &rate.Sometimes{First: 3, Interval: 10 * time.Second},
		ending:  &rate.Sometimes{First: 1, Interval: 24 * time.Hour},
		decider: newDecider(cfg.CA, cfg.Revoked, cfg.Lifetime),
		waiting: make(chan renewal, maxWaiting), quit: make(chan struct{}),
	}
	for range renewWorkers {
		r.done.Go(r.work) // Close ends them
	}
	var err error
	r.service, err = micro.AddService(r.nc, micro.Config{
		Name: events.ServiceCA, Version: serviceVersion, Description: serviceDescription, QueueGroup: events.ServiceCA,
	})
	if err == nil {
		err = r.service.AddEndpoint("renew", micro.HandlerFunc(r.take), micro.WithEndpointSubject(events.SubjectCARenew))
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting the renewer: %w", err)
	}
	r.warn()
	return r, nil
}

// warn says in time that the CA will end: nobody looks at it while it works.
func (r *Renewer) warn() {
	r.ending.Do(func() {
		info, err := r.decider.ca.Info()
		if err == nil && info.EndsSoon(time.Now()) {
			r.log.Error("the intermediate or the root ends soon, and with it every certificate: run authsvc ca rotate",
				"intermediate_not_after", info.Issuer.NotAfter, "root_not_after", info.Roots[0].NotAfter)
		}
	})
}

// take queues a request. The connection's own goroutine must not wait for a lock.
func (r *Renewer) take(req micro.Request) {
	// Anything else than an inbox would be a way to publish under our permissions.
	if !events.IsInbox(req.Reply()) {
		return
	}
	if len(req.Data()) > maxRequest {
		r.refuse(req.Reply(), &refusal{events.CodeBadRequest, "the request is too long"})
		return
	}
	select {
	case r.waiting <- renewal{req.Reply(), req.Data()}:
	default:
		r.refuse(req.Reply(), errOverloaded)
	}
}

func (r *Renewer) work() {
	for {
		select {
		case req := <-r.waiting:
			r.handle(req)
		case <-r.quit:
			return
		}
	}
}

func (r *Renewer) handle(req renewal) {
	payload, header, record, err := r.decider.answer(req.data)
	if err != nil {
		r.refuse(req.reply, err)
		return
	}
	r.log.Info("certificate renewed", "name", record.Name, "serial", record.Serial, "id", record.ID,
		"renews", record.Renews, "not_after", record.NotAfter)
	r.publish(&nats.Msg{Subject: req.reply, Header: header, Data: payload})
	r.warn()
}

// refuse answers with the error headers of NATS micro services. Only a refusal is
// told in words; other errors are for the log.
func (r *Renewer) refuse(reply string, err error) {
	var told *refusal
	if !errors.As(err, &told) {
		told = errUnavailable
	}
	r.often.Do(func() { r.log.Warn("certificate not renewed", "error", err) })
	r.publish(&nats.Msg{Subject: reply, Header: nats.Header{
		micro.ErrorCodeHeader: []string{told.code}, micro.ErrorHeader: []string{told.description},
	}})
}

func (r *Renewer) publish(msg *nats.Msg) {
	if err := r.nc.PublishMsg(msg); err != nil {
		r.often.Do(func() { r.log.Warn("an answer could not be sent", "error", err) })
	}
}

// Close stops answering and waits for what is being answered. It does not close
// the connection.
func (r *Renewer) Close() {
	r.once.Do(func() {
		if r.service != nil {
			if err := r.service.Stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				r.log.Warn("stopping the micro service failed", "error", err)
			}
		}
		close(r.quit)
	})
	r.done.Wait()
}
