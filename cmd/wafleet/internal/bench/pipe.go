package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// Roles of a worker.
const (
	roleSimulator = "simulator"
	roleTarget    = "target"
)

// request is one line to a worker.
type request struct {
	Do   string          `json:"do"`
	Args json.RawMessage `json:"args,omitempty"`
}

// reply is one line from a worker: how far it is, any number of times, then the result or why there is none.
type reply struct {
	Progress string          `json:"progress,omitempty"`
	Error    string          `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
}

// ErrWorker is what a worker reports: the text behind it is the worker's.
var ErrWorker = errors.New("worker")

// child is a worker as its parent sees it. One call at a time.
type child struct {
	role     string
	cmd      *exec.Cmd
	in       io.WriteCloser
	replies  chan reply // closed by the reader when the worker closed its output
	reader   sync.WaitGroup
	progress io.Writer
}

// spawn starts a worker. It is closed by close, and ends with ctx.
func spawn(ctx context.Context, command []string, role string, progress io.Writer) (*child, error) {
	args := append(append([]string(nil), command[1:]...), role)
	c := &child{role: role, replies: make(chan reply), progress: progress}
	c.cmd = exec.CommandContext(ctx, command[0], args...) //nolint:gosec // this very binary
	c.cmd.Stderr = progress
	c.cmd.WaitDelay = closeTimeout
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	c.cmd.Cancel = func() error { // gently: it ends by itself then
		_ = c.in.Close() // it may be closed already
		return nil
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	if err = c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c.reader.Go(func() {
		defer close(c.replies)
		for dec := json.NewDecoder(out); ; {
			var r reply
			if dec.Decode(&r) != nil {
				return // it has ended, and its exit code says how
			}
			c.replies <- r
		}
	})
	return c, nil
}

// call asks the worker and waits for its answer, until ctx ends.
func (c *child) call(ctx context.Context, do string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.role, do, err)
	}
	line, err := json.Marshal(request{Do: do, Args: raw})
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.role, do, err)
	}
	if _, err = c.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s, %s: %w", c.role, do, cmp.Or(context.Cause(ctx), err)) // the end of ctx closes the pipe
	}
	for {
		select {
		case r, ok := <-c.replies:
			switch {
			case ctx.Err() != nil: // then it ended because it was told to, or says so itself
				return fmt.Errorf("%s, %s: %w", c.role, do, context.Cause(ctx))
			case !ok:
				return fmt.Errorf("%s, %s: %w: it ended", c.role, do, ErrWorker)
			case r.Error != "":
				return fmt.Errorf("%s, %s: %w: %s", c.role, do, ErrWorker, r.Error)
			case r.Progress != "":
				_, _ = fmt.Fprintf(c.progress, "  %s\n", r.Progress)
			case result != nil:
				return json.Unmarshal(r.Result, result)
			default:
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%s, %s: %w", c.role, do, context.Cause(ctx))
		}
	}
}

// close tells the worker to end, and kills it when it does not.
func (c *child) close() error {
	_ = c.in.Close()
	drained := make(chan struct{})
	go func() { // ends with the worker, which is killed below at the latest
		defer close(drained)
		for range c.replies { // nobody waits for them any more
		}
		c.reader.Wait()
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	var err error
	select {
	case <-drained:
	case <-timer.C:
		err = fmt.Errorf("%s: %w: killed, it did not end", c.role, ErrWorker)
		_ = c.cmd.Process.Kill()
		<-drained
	}
	exit := c.cmd.Wait()
	gaveUp := errors.Is(exit, context.Canceled) || errors.Is(exit, context.DeadlineExceeded) // as the call has said
	if exit != nil && err == nil && !gaveUp {
		err = fmt.Errorf("%s: %w", c.role, exit)
	}
	return err
}

// role is what a worker can do.
type role interface {
	// do answers one request; say reports progress.
	do(ctx context.Context, req request, say func(string)) (any, error)
	// close ends what do has started.
	close() error
}

// work answers requests until in ends. The context of a request ends with in, too.
func work(ctx context.Context, r role, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan request)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(requests)
		defer cancel() // the parent has gone or gives up: nobody waits for what is under way
		for dec := json.NewDecoder(in); ; {
			var req request
			if dec.Decode(&req) != nil {
				return
			}
			requests <- req
		}
	})
	defer reader.Wait()
	enc := json.NewEncoder(out)
	for req := range requests {
		result, err := r.do(ctx, req, func(progress string) { _ = enc.Encode(reply{Progress: progress}) })
		var answer reply
		if answer.Result, err = marshal(result, err); err != nil {
			answer = reply{Error: err.Error()}
		}
		_ = enc.Encode(answer) //nolint:errchkjson // who does not read it has closed our input, too
	}
	return r.close()
}

func marshal(v any, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	return raw, nil
}

// arguments reads what a request came with.
func arguments[T any](req request) (args T, err error) {
	if err = json.Unmarshal(req.Args, &args); err != nil {
		return args, fmt.Errorf("arguments: %w", err)
	}
	return args, nil
}
