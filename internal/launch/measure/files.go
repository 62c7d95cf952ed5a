package measure

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"slices"
	"sync"
)

const (
	// bufferBudget bounds the bytes in buffers of one call.
	bufferBudget = 32 << 20
	// chunkSize is the largest buffer. It fits a processor's own cache, so that
	// what was read is hashed without going to memory again.
	chunkSize = 256 << 10
	// minChunk is the smallest buffer.
	minChunk = 32 << 10
)

// chunk is one piece of a file on its way through a pass.
type chunk struct {
	// data has room for whole blocks.
	data []byte
	// n is the number of bytes of the file in data.
	n int
	// index is the number of the piece in its file.
	index uint64
	// fs and dm are the digests of its blocks, for each tree that is wanted, and
	// hasher is what computes those behind a salt.
	fs, dm []byte
	hasher hash.Hash
}

// pass is one call of Files.
type pass struct {
	o     Options
	files []File
	sums  []Sums
	// order are the indices of the files, the largest first.
	order []int
	// window is how many chunks of one file may be in flight.
	window int

	mu sync.Mutex
	// changed tells waiting workers that there may be something to do.
	changed *sync.Cond
	// next is the next of order to open.
	next int
	// opening counts files that are being opened or finished, active lists those in
	// between.
	opening int
	active  []*job
	// free are buffers at rest, room how many more may be made.
	free []*chunk
	room int
	errs []error
}

// Files measures many files, the largest first, and returns their sums in their
// order. All workers share the blocks of a file that is large. Errors are those
// of [Copy] and of the files' functions; the first ends the pass, and the sums
// are nil beside it.
func Files(ctx context.Context, files []File, o Options) ([]Sums, error) {
	for i := range files {
		if err := files[i].Wanted.check(files[i].Size); err != nil {
			return nil, files[i].named(err)
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("measuring: %w", context.Cause(ctx))
	}
	p := newPass(files, o)
	// Whoever waits for a buffer must hear that the context has ended.
	stop := context.AfterFunc(ctx, func() { p.fail(fmt.Errorf("measuring: %w", context.Cause(ctx))) })
	defer stop()
	var wg sync.WaitGroup
	for range p.o.Workers {
		wg.Go(p.work)
	}
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, j := range p.active {
		p.errs = append(p.errs, j.file.named(j.release()))
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return p.sums, nil
}

// newPass plans a pass.
func newPass(files []File, o Options) *pass {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Workers = min(o.Workers, MaxWorkers)
	p := &pass{
		o: o, files: files, sums: make([]Sums, len(files)), order: make([]int, len(files)),
		// One file whose bytes are hashed one after the other leaves a buffer to each
		// worker for the next file.
		window: o.Workers + 2, room: 2*o.Workers + 2,
	}
	if p.o.chunk <= 0 {
		p.o.chunk = max(minChunk, min(chunkSize, bufferBudget/p.room/BlockSize*BlockSize))
	}
	p.changed = sync.NewCond(&p.mu)
	for i := range p.order {
		p.order[i] = i
	}
	slices.SortStableFunc(p.order, func(a, b int) int {
		switch {
		case files[a].Size > files[b].Size:
			return -1
		case files[a].Size < files[b].Size:
			return 1
		}
		return 0
	})
	return p
}

// named puts the file's name before an error; nil stays nil.
func (f *File) named(err error) error {
	if err == nil || f.Name == "" {
		return err
	}
	return fmt.Errorf("measuring %s: %w", f.Name, err)
}

// fail ends the pass with an error.
func (p *pass) fail(err error) {
	p.mu.Lock()
	p.errs = append(p.errs, err)
	p.mu.Unlock()
	p.changed.Broadcast()
}

// work is one worker: it takes what there is to do until nothing is left.
func (p *pass) work() {
	for {
		j, c, more := p.take()
		var err error
		switch {
		case !more:
			return
		case c != nil:
			err = p.chunk(j, c)
		default:
			err = p.open(j)
		}
		if err != nil {
			p.fail(j.file.named(err))
			return
		}
	}
}

// take waits for something to do: a chunk of an open file to read, which has its
// buffer then, or (with no chunk) a file to open. more is false at the end.
func (p *pass) take() (j *job, c *chunk, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if len(p.errs) > 0 {
			return nil, nil, false
		}
		for _, j := range p.active {
			if j.taken < j.chunks && j.flying < p.window && (len(p.free) > 0 || p.room > 0) {
				c := p.buffer()
				c.index = j.taken
				j.taken++
				j.flying++
				return j, c, true
			}
		}
		if p.next < len(p.order) && len(p.active)+p.opening < p.o.Workers {
			i := p.order[p.next]
			p.next++
			p.opening++
			return newJob(p, i), nil, true
		}
		if p.next == len(p.order) && p.opening == 0 && len(p.active) == 0 {
			return nil, nil, false
		}
		p.changed.Wait()
	}
}

// buffer takes a buffer at rest, or makes one.
func (p *pass) buffer() *chunk {
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	p.room--
	return &chunk{data: make([]byte, p.o.chunk)}
}

// open opens a file and adds it to the active ones.
func (p *pass) open(j *job) error {
	if err := j.open(); err != nil {
		return err
	}
	p.mu.Lock()
	p.opening--
	p.active = append(p.active, j)
	p.mu.Unlock()
	p.changed.Broadcast()
	if j.chunks == 0 {
		return p.finish(j)
	}
	return nil
}

// chunk reads, writes and hashes a chunk, and then does what must be done in
// order for all chunks of the file that are ready, unless another worker is at
// it: that one will see this chunk too.
func (p *pass) chunk(j *job, c *chunk) error {
	if err := j.process(c); err != nil {
		return err
	}
	p.mu.Lock()
	j.ready[c.index%uint64(p.window)] = c
	if j.draining {
		p.mu.Unlock()
		return nil
	}
	j.draining = true
	for len(p.errs) == 0 {
		slot := &j.ready[j.drained%uint64(p.window)]
		c := *slot
		if c == nil {
			break
		}
		p.mu.Unlock()
		err := j.drain(c)
		if p.o.Done != nil {
			p.o.Done.Add(uint64(c.n))
		}
		p.mu.Lock()
		if err != nil {
			p.mu.Unlock()
			return err
		}
		*slot = nil
		p.free = append(p.free, c)
		j.drained++
		j.flying--
		p.changed.Broadcast()
	}
	j.draining = false
	done := j.drained == j.chunks && len(p.errs) == 0
	p.mu.Unlock()
	if done {
		return p.finish(j)
	}
	return nil
}

// finish takes a file out of the active ones and completes its sums.
func (p *pass) finish(j *job) error {
	p.mu.Lock()
	p.active = slices.DeleteFunc(p.active, func(other *job) bool { return other == j })
	p.opening++
	p.mu.Unlock()
	sums, err := j.finish()
	err = errors.Join(err, j.release())
	p.mu.Lock()
	p.opening--
	if err == nil {
		p.sums[j.index] = sums
	}
	p.mu.Unlock()
	p.changed.Broadcast()
	return err
}
