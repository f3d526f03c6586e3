/* Runs of steps in several threads: one batch each, or a share of every step each.
 *
 * This is the way for one large image, where the outermost axis, the batch, has nothing to share.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* for the set of processors of a thread */
#endif
#include <pthread.h>
#include <sched.h>

#include "engine.h"

/* Steps are short: a worker that has waited for so many rounds lets other threads run. */
#define AQ_PATIENCE 2000

int aq_meet(const aq_workspace *workspace)
{
    aq_barrier *b = workspace->barrier;

    if (workspace->workers > 1) {
        const int round = atomic_load(&b->round);

        /* Who goes on after that would be counted twice. */
        if (atomic_load(&b->left)) {
            return 0;
        }
        if (atomic_fetch_add(&b->waiting, 1) + 1 == workspace->workers) {
            atomic_store(&b->waiting, 0);
            atomic_fetch_add(&b->round, 1);
        }
        for (int i = 0; atomic_load(&b->round) == round; i++) {
            if (atomic_load(&b->left)) {
                return 0;
            }
            if (i >= AQ_PATIENCE) {
                i = AQ_PATIENCE;
                sched_yield();
            }
        }
    }
    return 1;
}

static void *aq_work(void *argument)
{
    aq_job *job = argument;

    for (ptrdiff_t i = 0; i < job->count; i++) {
        job->steps[i].run(job->steps[i].step, &job->workspace);
        if (!aq_meet(&job->workspace)) {
            break;
        }
    }
    return NULL;
}

#if defined(__linux__)
/* Keep new threads off the processor of this one if there are others: a run may be over before the
 * system has moved them.
 */
static void aq_elsewhere(pthread_attr_t *attributes)
{
    const int here = sched_getcpu();
    cpu_set_t set;

    if (here >= 0 && here < CPU_SETSIZE && sched_getaffinity(0, sizeof set, &set) == 0) {
        CPU_CLR(here, &set);
        if (CPU_COUNT(&set) > 0) {
            (void)pthread_attr_setaffinity_np(attributes, sizeof set, &set);
        }
    }
}
#else
static void aq_elsewhere(pthread_attr_t *attributes)
{
    (void)attributes;
}
#endif

void aq_run_jobs(aq_job *jobs, ptrdiff_t count)
{
    const int shared = jobs[0].workspace.workers > 1;
    ptrdiff_t begun = 1;
    pthread_attr_t attributes;

    if (count > 1 && pthread_attr_init(&attributes) == 0) {
        aq_elsewhere(&attributes);
        while (begun < count
                && (pthread_create(&jobs[begun].thread, &attributes, aq_work, &jobs[begun]) == 0
                || pthread_create(&jobs[begun].thread, NULL, aq_work, &jobs[begun]) == 0)) {
            begun++;
        }
        (void)pthread_attr_destroy(&attributes);
    }
    if (shared && begun < count) {
        atomic_store(&jobs[0].workspace.barrier->left, 1);
    }
    aq_work(&jobs[0]);
    for (ptrdiff_t i = 1; i < begun; i++) {
        pthread_join(jobs[i].thread, NULL);
    }
    if (shared && begun < count) {
        /* A thread was missing: nobody came past the first step, whose inputs are still there. */
        jobs[0].workspace.worker = 0;
        jobs[0].workspace.workers = 1;
        aq_work(&jobs[0]);
    }
    for (ptrdiff_t i = begun; i < count && !shared; i++) {
        aq_work(&jobs[i]);
    }
}
