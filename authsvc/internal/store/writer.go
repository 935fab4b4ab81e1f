package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// maxBatch is the most functions that share one commit.
const maxBatch = 256

// writer owns the write connection. Its goroutine takes the functions that wait
// into one transaction and commits once for all of them.
type writer struct {
	pools     pools
	queue     chan *operation // unbuffered: an operation is either taken or not begun
	quit      chan struct{}
	stopped   chan struct{}
	committed chan struct{}
	waiting   atomic.Int64
	session   *session // nil while there is none
}

// operation is one function given to Write.
type operation struct {
	fn   func(*Tx) error
	err  error
	done chan error
}

func startWriter(p pools) *writer {
	w := &writer{
		pools: p, queue: make(chan *operation), quit: make(chan struct{}),
		stopped: make(chan struct{}), committed: make(chan struct{}, 1),
	}
	go w.run() // ends with stop
	return w
}

func (w *writer) stop() {
	close(w.quit)
	<-w.stopped
}

// Write runs fn in a transaction and returns nil once that is durably committed.
//
// fn runs on another goroutine, possibly with others in the same transaction; it
// must use tx alone, keep it no longer than the call, and not call
// runtime.Goexit (as t.Fatal does). If fn returns an error or panics, or if any
// statement of tx failed, what it wrote is undone and Write returns the error.
//
// A ctx that ends while fn still waits for its turn prevents it; once fn has
// begun, Write waits for the outcome.
func (db *DB) Write(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting to write: %w", err)
	}
	op := &operation{fn: fn, done: make(chan error, 1)}
	if err := db.writer.enqueue(ctx, op); err != nil {
		return err
	}
	return <-op.done
}

// enqueue waits until the writer takes op.
func (w *writer) enqueue(ctx context.Context, op *operation) error {
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	select {
	case w.queue <- op:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	case <-w.quit:
		return ErrClosed
	}
}

// Waiting is how many writes wait for their turn.
func (db *DB) Waiting() int { return int(db.writer.waiting.Load()) }

// Committed receives after local commits that left events or revocations to
// publish, one value for any number of commits. It is for one listener, the relay.
func (db *DB) Committed() <-chan struct{} { return db.writer.committed }

func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case op := <-w.queue:
			w.batch(op)
		case <-w.quit:
			w.discard()
			return
		}
	}
}

// batch runs first and whatever is waiting in one transaction, and tells each
// caller the outcome only after the commit: even an error may rest on what an
// operation before it wrote.
func (w *writer) batch(first *operation) {
	ctx, cancel := w.pools.dialect.batchContext()
	defer cancel()
	b, err := w.begin(ctx)
	if err != nil {
		first.done <- fmt.Errorf("beginning a write: %w", err)
		return
	}
	ops := make([]*operation, 0, 8)
	for op := first; op != nil; op = w.next(len(ops)) {
		ops = append(ops, op)
		op.err, err = b.run(op.fn, len(ops) > 1)
		if err != nil || len(ops) == 1 && op.err != nil {
			break
		}
	}
	w.finish(b, ops, err)
}

// next returns an operation that is waiting, or nil.
func (w *writer) next(taken int) *operation {
	if taken == maxBatch {
		return nil
	}
	select {
	case op := <-w.queue:
		return op
	default:
		return nil
	}
}

// finish commits b, unless broken says that the transaction cannot go on or
// there is nothing in it but one operation that failed.
func (w *writer) finish(b *batch, ops []*operation, broken error) {
	if broken == nil && len(ops) == 1 && ops[0].err != nil {
		if _, err := b.exec("ROLLBACK"); err != nil {
			w.discard() // the connection is in a state that we do not know
		}
		ops[0].done <- ops[0].err
		return
	}
	if broken == nil {
		broken = b.commit()
	}
	if broken != nil {
		w.discard() // and with the connection the transaction, if there still is one
	}
	for _, op := range ops {
		if op.err == nil || broken != nil {
			op.err = broken
		}
		op.done <- op.err
	}
	if broken == nil && b.publishes() {
		select {
		case w.committed <- struct{}{}:
		default: // the listener has not yet seen the last one
		}
	}
}

// begin opens a transaction and locks the head. A connection that died since
// the last batch is replaced once.
func (w *writer) begin(ctx context.Context) (*batch, error) {
	reused := w.session != nil
	b, err := w.tryBegin(ctx)
	if err != nil && reused {
		b, err = w.tryBegin(ctx)
	}
	return b, err
}

func (w *writer) tryBegin(ctx context.Context) (*batch, error) {
	if w.session == nil {
		conn, err := w.pools.write.Conn(ctx)
		if err != nil {
			return nil, err
		}
		w.session = &session{conn: conn, prepared: map[string]*sql.Stmt{}}
	}
	b := &batch{ctx: ctx, session: w.session}
	if _, err := b.exec(w.pools.dialect.begin); err != nil {
		w.discard()
		return nil, err
	}
	if err := b.lockHead(w.pools.dialect.locker); err != nil {
		w.discard()
		return nil, err
	}
	return b, nil
}

// discard closes the connection for good instead of giving it back.
func (w *writer) discard() {
	if w.session == nil {
		return
	}
	for _, stmt := range w.session.prepared {
		_ = stmt.Close() // dies with the connection
	}
	_ = w.session.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.session.conn.Close() // closed by Raw already
	w.session = nil
}

// session is the write connection with the statements prepared on it.
type session struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (s *session) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.prepared[query]; ok {
		return stmt, nil
	}
	stmt, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.prepared[query] = stmt
	return stmt, nil
}

// call runs fn and turns a panic into an error.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn(tx)
}
