package forward

import "time"

// links are an exchange's neighbours in a queue.
type links struct {
	prev, next *exchange
	due        time.Time
	queued     bool
}

// A queue holds exchanges in the order in which they fall due. Every one waits
// for the same length of time, so the order is that of coming; what is done
// leaves from anywhere in it at no cost.
type queue struct {
	head, tail *exchange
	// of picks the links that belong to this queue.
	of func(*exchange) *links
}

func (q *queue) push(x *exchange, due time.Time) {
	q.remove(x)
	l := q.of(x)
	*l = links{prev: q.tail, due: due, queued: true}
	if q.tail == nil {
		q.head = x
	} else {
		q.of(q.tail).next = x
	}
	q.tail = x
}

func (q *queue) remove(x *exchange) {
	l := q.of(x)
	if !l.queued {
		return
	}
	if l.prev == nil {
		q.head = l.next
	} else {
		q.of(l.prev).next = l.next
	}
	if l.next == nil {
		q.tail = l.prev
	} else {
		q.of(l.next).prev = l.prev
	}
	*l = links{}
}

// due is when the first exchange falls due; zero if there is none.
func (q *queue) due() time.Time {
	if q.head == nil {
		return time.Time{}
	}
	return q.of(q.head).due
}
