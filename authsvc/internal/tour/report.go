package tour

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// result is what one step has shown.
type result struct {
	Step string `json:"step"`
	OK   bool   `json:"ok"`
	// Detail says what was done and what came back.
	Detail string `json:"detail"`
	// MS is how long the step took; in the steps that revoke, the time from the
	// acknowledgement to the refusal in the slower service.
	MS float64 `json:"ms"`
}

// report prints results for people, or for programs as one JSON object a line.
type report struct {
	out   io.Writer
	json  bool
	color bool
}

func (r *report) print(s result) error {
	if r.json {
		if err := json.NewEncoder(r.out).Encode(s); err != nil {
			return fmt.Errorf("printing a step: %w", err)
		}
		return nil
	}
	mark := r.paint("32", "ok  ")
	if !s.OK {
		mark = r.paint("31", "FAIL")
	}
	_, err := fmt.Fprintf(r.out, "%s  %-22s %9.1f ms  %s\n", mark, s.Step, s.MS, s.Detail)
	if err != nil {
		return fmt.Errorf("printing a step: %w", err)
	}
	return nil
}

// compare prints what the answers cost, for programs one JSON object a line.
func (r *report) compare(costs []cost) error {
	if r.json {
		out := json.NewEncoder(r.out)
		for _, c := range costs {
			if err := out.Encode(c); err != nil {
				return fmt.Errorf("printing a cost: %w", err)
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(r.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "\nanswer\tmedian call\tauth service asked, per 100 calls\tlogout honoured after\tauth service stopped\n")
	for _, c := range costs {
		fmt.Fprintf(table, "%s\t%.2f ms\t%d\t%.1f ms\t%s\n", c.Answer, c.MedianMS, c.AuthCalls, c.LogoutMS, c.Stopped)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the costs: %w", err)
	}
	return nil
}

func (r *report) paint(code, text string) string {
	if !r.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// milliseconds rounds to a tenth.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}
