package verifier

import (
	"context"
	"sync"
)

// desk takes the questions about tokens. For one token at most one is under way,
// and whoever comes meanwhile waits for the next: an answer is shared only among
// those who came before it was asked for. So every caller gets the authority's
// word from after the call began, and a crowd costs two requests.
//
// A desk has one audience, its verifier's, so that no answer is ever shared across
// audiences. The whole token names the line, not its hash or id.
type desk struct {
	ask   func(raw string) (*Claims, error)
	slots chan struct{} // one for each line
	// shared is called for each caller who shares a question.
	shared func()

	mu      sync.Mutex
	lines   map[string]*line // by token; guarded by mu
	closed  bool             // guarded by mu
	running sync.WaitGroup   // the goroutines of the lines
}

// line is what goes on about one token: a question under way, and the next.
type line struct {
	next *question // nil while nobody waits for one; guarded by desk.mu
}

// question is asked once, for everybody who waits for it.
type question struct {
	waiting int // callers; guarded by desk.mu
	done    chan struct{}
	claims  *Claims // set before done is closed, as is err
	err     error
}

func newQuestion() *question { return &question{waiting: 1, done: make(chan struct{})} }

func newDesk(slots int, ask func(string) (*Claims, error), shared func()) *desk {
	return &desk{ask: ask, shared: shared, slots: make(chan struct{}, slots), lines: make(map[string]*line)}
}

// verdict has the token decided by a question that is asked after the call. A
// patient caller waits for a slot; others are refused when there is none.
func (d *desk) verdict(ctx context.Context, raw string, patient bool) (*Claims, error) {
	if err := ctx.Err(); err != nil { // whoever has left asks nothing
		return nil, unavailable(ReasonNoAnswer, err.Error())
	}
	q, err := d.join(ctx, raw, patient)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.claims, q.err
	case <-ctx.Done():
		d.mu.Lock()
		q.waiting--
		d.mu.Unlock()
		return nil, unavailable(ReasonNoAnswer, ctx.Err().Error())
	}
}

// join returns the question to wait for.
func (d *desk) join(ctx context.Context, raw string, patient bool) (*question, error) {
	if q := d.queue(raw); q != nil {
		return q, nil
	}
	if err := d.slot(ctx, patient); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		<-d.slots
		return nil, errClosed
	}
	if l := d.lines[raw]; l != nil { // somebody was faster
		<-d.slots
		return d.queueIn(l), nil
	}
	l, q := &line{}, newQuestion()
	d.lines[raw] = l
	d.running.Go(func() { d.serve(raw, l, q) })
	return q, nil
}

// queue joins the line of the token, if there is one.
func (d *desk) queue(raw string) *question {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lines[raw]; l != nil {
		return d.queueIn(l)
	}
	return nil
}

// queueIn joins the question that is asked next. d.mu is held.
func (d *desk) queueIn(l *line) *question {
	if l.next == nil {
		l.next = newQuestion()
		return l.next
	}
	l.next.waiting++
	d.shared()
	return l.next
}

// slot takes one of the slots.
func (d *desk) slot(ctx context.Context, patient bool) error {
	select {
	case d.slots <- struct{}{}:
		return nil
	default:
	}
	if !patient {
		return unavailable(ReasonOverloaded, errOverloaded.Error())
	}
	select {
	case d.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return unavailable(ReasonOverloaded, errOverloaded.Error())
	}
}

// serve asks one question after the other until nobody waits for another.
func (d *desk) serve(raw string, l *line, q *question) {
	defer func() { <-d.slots }()
	for ; q != nil; q = d.following(raw, l) {
		q.claims, q.err = d.ask(raw)
		close(q.done)
	}
}

// following returns the question that is due, or ends the line.
func (d *desk) following(raw string, l *line) *question {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := l.next
	l.next = nil
	if q == nil || q.waiting == 0 {
		delete(d.lines, raw)
		return nil
	}
	return q
}

// close refuses new lines and waits for those that there are.
func (d *desk) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.running.Wait()
}
