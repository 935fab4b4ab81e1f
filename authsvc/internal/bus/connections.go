package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// The subjects of the brokers' system account.
const (
	connectSubject     = "$SYS.ACCOUNT.*.CONNECT"
	allBrokers         = "$SYS.REQ.SERVER.PING.IDZ"
	connectionsSubject = "$SYS.REQ.SERVER.%s.CONNZ"
	kickSubject        = "$SYS.REQ.SERVER.%s.KICK"
)

// connectionsPage is how many connections a broker lists at once.
const connectionsPage = 256

// brokers asks the system account about connections.
type brokers struct{ nc *nats.Conn }

// connection is a client of a broker.
type connection struct {
	CID     uint64 `json:"cid"`
	Address string `json:"ip"`
	User    string `json:"authorized_user"`
	Account string `json:"account"`
	// Start is when it was made, by the broker's clock.
	Start time.Time `json:"start"`
	// Peers are the certificates of the TLS handshake, the client's own first.
	Peers []struct {
		ID string `json:"spki_sha256"`
	} `json:"tls_peer_certs"`

	server string
}

// connectEvent says that a client has connected.
type connectEvent struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Client struct {
		ID uint64 `json:"id"`
	} `json:"client"`
}

func readConnect(payload []byte) (connectEvent, error) {
	var event connectEvent
	err := json.Unmarshal(payload, &event)
	if err == nil && (event.Server.ID == "" || event.Client.ID == 0) {
		err = errors.New("it names no server or no client")
	}
	return event, err
}

// systemAnswer is what a broker answers on its system account.
type systemAnswer struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Connections []connection `json:"connections"`
	} `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

func readAnswer(msg *nats.Msg) (systemAnswer, error) {
	var answer systemAnswer
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return answer, fmt.Errorf("decoding the answer of a broker: %w", err)
	}
	if answer.Error != nil {
		return answer, fmt.Errorf("a broker refuses: %s", answer.Error.Description)
	}
	for i := range answer.Data.Connections {
		answer.Data.Connections[i].server = answer.Server.ID
	}
	return answer, nil
}

// connectionsRequest asks for a page of connections with their certificates, or
// for one of them.
type connectionsRequest struct {
	Auth   bool   `json:"auth"`
	CID    uint64 `json:"cid,omitempty"`
	Sort   string `json:"sort,omitempty"`
	Offset int    `json:"offset,omitempty"`
	Limit  int    `json:"limit,omitempty"`
}

// errNoSystemAccount says that nobody answers what every broker answers.
var errNoSystemAccount = errors.New("this connection is not one of the brokers' system account")

// find asks all brokers who they are. Their answers go to inbox, where readBroker
// reads them. How many there will be nobody knows.
func (b brokers) find(inbox string) error {
	if err := b.nc.PublishRequest(allBrokers, inbox, nil); err != nil {
		return fmt.Errorf("asking the brokers: %w", err)
	}
	return nil
}

// readBroker returns the id of a broker that has answered.
func readBroker(msg *nats.Msg) (string, error) {
	if msg.Header.Get("Status") == "503" {
		return "", errNoSystemAccount
	}
	var broker struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(msg.Data, &broker)
	if err == nil && broker.ID == "" {
		err = errors.New("it does not say which one it is")
	}
	if err != nil {
		return "", fmt.Errorf("decoding the answer of a broker: %w", err)
	}
	return broker.ID, nil
}

// pages calls fn for every connection of a broker, for some twice. Those that begin
// meanwhile come as events. Those that end make the list shorter that the offset counts
// in, so the pages overlap, and fn must not end any.
func (b brokers) pages(ctx context.Context, server string, fn func(connection)) error {
	for offset := 0; ; offset += connectionsPage / 2 {
		answer, err := b.ask(ctx, server, connectionsRequest{Auth: true, Sort: "cid", Offset: offset, Limit: connectionsPage})
		if err != nil {
			return err
		}
		for _, c := range answer.Data.Connections {
			fn(c)
		}
		if len(answer.Data.Connections) < connectionsPage {
			return nil
		}
	}
}

// one calls fn for one connection, if it is still there.
func (b brokers) one(ctx context.Context, server string, cid uint64, fn func(connection)) error {
	answer, err := b.ask(ctx, server, connectionsRequest{Auth: true, CID: cid})
	if err != nil {
		return err
	}
	for _, c := range answer.Data.Connections {
		fn(c)
	}
	return nil
}

// kick closes a connection. That it has gone by itself is no error.
func (b brokers) kick(ctx context.Context, c connection) error {
	payload := fmt.Appendf(nil, `{"cid":%d}`, c.CID)
	if _, err := b.request(ctx, fmt.Sprintf(kickSubject, c.server), payload); err != nil {
		return fmt.Errorf("asking a broker to close a connection: %w", err)
	}
	return nil
}

func (b brokers) ask(ctx context.Context, server string, req connectionsRequest) (systemAnswer, error) {
	payload, err := json.Marshal(req)
	if err != nil {
		return systemAnswer{}, fmt.Errorf("asking a broker: %w", err)
	}
	msg, err := b.request(ctx, fmt.Sprintf(connectionsSubject, server), payload)
	if err != nil {
		return systemAnswer{}, fmt.Errorf("asking a broker: %w", err)
	}
	return readAnswer(msg)
}

// request bounds each answer, and not a whole list of pages, whose last would never be
// read where a broker is slow or has many connections.
func (b brokers) request(ctx context.Context, subject string, payload []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return b.nc.RequestWithContext(ctx, subject, payload)
}
