package gateway

import (
	"fmt"
	"net/http"
	"runtime/debug"
)

// recovered logs a panic and cuts the answer off. It must be deferred. net/http
// would log it too, but among what clients do to their connections.
func (g *Gateway) recovered() {
	v := recover()
	switch v {
	case nil:
		return
	case http.ErrAbortHandler:
	default:
		g.config.Log.Error("a request made the gateway panic", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}
