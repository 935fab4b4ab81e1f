package bus

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/authbus/authbus/events"
)

// probeQueue holds the freshness probes that have arrived and not been taken.
type probeQueue struct {
	arrived chan struct{} // has room for one signal

	mu      sync.Mutex
	waiting []request
}

func newProbeQueue() probeQueue { return probeQueue{arrived: make(chan struct{}, 1)} }

// add reports whether there was room.
func (q *probeQueue) add(probe request) bool {
	q.mu.Lock()
	full := len(q.waiting) >= maxProbes
	if !full {
		q.waiting = append(q.waiting, probe)
	}
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
	return !full
}

// take returns all that have arrived.
func (q *probeQueue) take() []request {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = nil
	return taken
}

// takeProbe is the handler of auth.fresh.
func (r *Responder) takeProbe(req micro.Request) {
	probe := requestOf(req)
	if r.accepts("fresh", probe, maxProbe) && !r.probes.add(probe) {
		r.refuse("fresh", probe.reply, errOverloaded)
	}
}

// answerProbes answers all probes that have arrived before a read of the database
// began with that one read. While it works, the next ones gather.
func (r *Responder) answerProbes() {
	for {
		select {
		case <-r.probes.arrived:
			r.answerBatch(r.probes.take())
		case <-r.quit:
			r.answerBatch(r.probes.take())
			return
		}
	}
}

func (r *Responder) answerBatch(probes []request) {
	if len(probes) == 0 {
		return
	}
	index, err := r.readIndex()
	r.metrics.probeBatch.Observe(float64(len(probes)))
	for _, probe := range probes {
		var req events.FreshRequest
		if bad := decode(probe.data, &req); bad != nil {
			r.refuse("fresh", probe.reply, bad)
			continue
		}
		if err != nil {
			r.refuse("fresh", probe.reply, err)
			continue
		}
		reply := index
		reply.Nonce = req.Nonce
		r.send("fresh", probe, reply)
	}
}

func (r *Responder) readIndex() (events.FreshReply, error) {
	if err := r.ready(); err != nil {
		return events.FreshReply{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	r.metrics.probeReads.Inc()
	index, err := r.authority.Fresh(ctx)
	index.Keys, index.Now = r.keys.Version(), time.Now().UnixMilli()
	return index, err
}
