/* --actions: rules from the model's answer to the hook's verdict. */
#include "Json.h"

#include "mlc/actions.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    mlc_arena *arena;
    mlc_diag *diag;
    const mlc_actions_context *context;
    mlc_actions *actions;
    int thresholds, classes;     /* rules seen */
    bool set[MLC_MAX_DECISIONS]; /* class has a rule */
    mlc_decision otherwise;      /* name NULL: no `else` */
} parser;

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *trimmed(mlc_arena *arena, const char *s, size_t n) {
    while (n && is_space(*s)) {
        s++;
        n--;
    }
    while (n && is_space(s[n - 1]))
        n--;
    return mlc_arena_strndup(arena, s, n);
}

/* NULL after reporting. */
static const char *find_verdict(parser *p, const char *name) {
    if (strcmp(name, "pass") == 0)
        return p->context->pass;
    if (strcmp(name, "drop") == 0)
        return p->context->drop;
    const char *candidates[32] = {"pass", "drop"};
    int n = 2;
    for (const char *const *v = p->context->verdicts; *v; v++) {
        if (strcmp(name, *v) == 0)
            return *v;
        if (n < 32)
            candidates[n++] = *v;
    }
    const char *close = mlc_closest(name, candidates, n);
    mlc_error(p->diag, "actions: '%s' is not a verdict of this target%s%s%s", mlc_escape(name),
              close ? "; did you mean '" : "", close ? close : "", close ? "'?" : "");
    char *all = mlc_arena_strdup(p->arena, candidates[0]);
    for (int i = 1; i < n; i++)
        all = mlc_arena_printf(p->arena, "%s, %s", all, candidates[i]);
    mlc_note(p->diag, "verdicts are %s", all);
    return NULL;
}

/* The whole of `s` as a finite number, in the C locale whatever the program's. */
static bool parse_double(const char *s, double *out) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return false;
    char *end;
    *out = strtod_l(s, &end, c);
    freelocale(c);
    return end != s && !*end && isfinite(*out);
}

static bool parse_index(const char *s, int64_t *out) {
    if (!*s || strlen(s) > 9 || s[strspn(s, "0123456789")])
        return false;
    *out = strtol(s, NULL, 10);
    return true;
}

/* `score` is "[OUTPUT][[INDEX]] >= NUMBER" or with ">". */
static bool add_threshold(parser *p, const char *verdict, const char *score) {
    mlc_actions *a = p->actions;
    const char *greater = strrchr(score, '>');
    const char *bound = greater + (greater[1] == '=' ? 2 : 1);
    const char *number = trimmed(p->arena, bound, strlen(bound));
    char *place = mlc_arena_strdup(p->arena, trimmed(p->arena, score, (size_t)(greater - score)));
    if (p->thresholds++)
        return mlc_error(p->diag, "actions: more than one threshold");
    if (!parse_double(number, &a->threshold))
        return mlc_error(p->diag, "actions: '%s' is not a finite number", mlc_escape(number));
    char *bracket = strrchr(place, '[');
    size_t n = strlen(place);
    if (bracket && place[n - 1] == ']') {
        place[n - 1] = '\0';
        if (!parse_index(bracket + 1, &a->element))
            return mlc_error(p->diag, "actions: '%s' is not an element number", mlc_escape(bracket + 1));
        *bracket = '\0';
        place = mlc_arena_strdup(p->arena, trimmed(p->arena, place, strlen(place)));
    }
    a->output = *place ? place : NULL;
    a->strict = greater[1] != '=';
    a->decisions[1] = (mlc_decision){.name = verdict, .verdict = find_verdict(p, verdict)};
    return a->decisions[1].verdict != NULL;
}

static int find_label(const mlc_actions_context *context, const char *name) {
    for (int i = 0; context->labels && i < context->n_classes; i++)
        if (strcmp(name, context->labels[i]) == 0)
            return i;
    return -1;
}

/* A label, "class LABEL", "class N" or "N"; -1 after reporting. */
static int find_class(parser *p, const char *name) {
    const mlc_actions_context *context = p->context;
    const char *bare = name;
    if (strncmp(name, "class", 5) == 0 && is_space(name[5]))
        bare = name + 5 + strspn(name + 5, " \t\r\n");
    int k = find_label(context, name);
    if (k < 0)
        k = find_label(context, bare);
    int64_t index;
    if (k < 0 && parse_index(bare, &index) && index < context->n_classes)
        k = (int)index;
    if (k >= 0)
        return k;
    const char *close = context->labels ? mlc_closest(bare, context->labels, context->n_classes) : NULL;
    if (close)
        mlc_error(p->diag, "actions: the model has no class '%s'; did you mean '%s'?", mlc_escape(bare),
                  mlc_escape(close));
    else
        mlc_error(p->diag, "actions: the model has no class '%s': it has classes 0 to %d", mlc_escape(bare),
                  context->n_classes - 1);
    return -1;
}

static bool check_class_count(parser *p) {
    if (p->context->n_classes <= MLC_MAX_DECISIONS)
        return true;
    mlc_error(p->diag, "actions: the model has %d classes; a packet filter tells %d apart at most",
              p->context->n_classes, MLC_MAX_DECISIONS);
    return mlc_note(p->diag, "decide by one element: 'drop: p[1] >= 0.5'");
}

static bool add_class(parser *p, const char *name, const char *verdict) {
    if (p->context->n_classes < 2) {
        mlc_error(p->diag, "actions: '%s': the model gives one score and no classes", mlc_escape(name));
        return mlc_note(p->diag, "write for example 'drop: >= 0.5'");
    }
    if (!check_class_count(p))
        return false;
    int k = find_class(p, name);
    if (k < 0)
        return false;
    if (p->set[k])
        return mlc_error(p->diag, "actions: two rules for class '%s'", mlc_escape(name));
    p->classes++;
    p->set[k] = true;
    p->actions->decisions[k].verdict = find_verdict(p, verdict);
    return p->actions->decisions[k].verdict != NULL;
}

static bool add_rule(parser *p, const char *left, const char *right) {
    if (!*left || !*right)
        return mlc_error(p->diag, "actions: '%s: %s' is incomplete", mlc_escape(left), mlc_escape(right));
    if (strchr(right, '>'))
        return add_threshold(p, left, right);
    if (strcmp(left, "else") != 0)
        return add_class(p, left, right);
    if (p->otherwise.name)
        return mlc_error(p->diag, "actions: more than one 'else'");
    p->otherwise = (mlc_decision){.name = right, .verdict = find_verdict(p, right)};
    return p->otherwise.verdict != NULL;
}

/* LEFT and RIGHT are parted by the first colon, else by the first equals sign. */
static bool add_text_rule(parser *p, const char *rule, size_t n) {
    const char *colon = memchr(rule, ':', n), *split = colon ? colon : memchr(rule, '=', n);
    if (!split || (split > rule && *split == '=' && split[-1] == '>')) {
        const char *text = trimmed(p->arena, rule, n);
        if (!*text)
            return mlc_error(p->diag, "actions: an empty rule in the list");
        mlc_error(p->diag, "actions: '%s' is not a rule", mlc_escape(text));
        return mlc_note(p->diag, "write 'drop: >= 0.5', or 'class 1: drop, else: pass'");
    }
    return add_rule(p, trimmed(p->arena, rule, (size_t)(split - rule)),
                    trimmed(p->arena, split + 1, n - (size_t)(split - rule) - 1));
}

static bool add_text(parser *p, const char *rules) {
    for (;;) {
        size_t n = strcspn(rules, ",");
        if (!add_text_rule(p, rules, n))
            return false;
        if (!rules[n])
            return true;
        rules += n + 1;
    }
}

static bool add_json(parser *p, json_t *json) {
    if (!json)
        return false;
    const char *key;
    json_t *value;
    size_t i;
    json_array_foreach(json, i,
                       value) if (!json_is_string(value) ||
                                  !add_text(p, json_string_value(value))) return json_is_string(value)
        ? false
        : mlc_error(p->diag, "actions: rule %zu is not a string", i);
    json_object_foreach(json, key, value) {
        if (!json_is_string(value))
            return mlc_error(p->diag, "actions: the value of '%s' is not a string", mlc_escape(key));
        const char *text = json_string_value(value);
        if (!add_rule(p, trimmed(p->arena, key, strlen(key)), trimmed(p->arena, text, strlen(text))))
            return false;
    }
    return true;
}

static bool finish_threshold(parser *p) {
    mlc_actions *a = p->actions;
    a->kind = MLC_ACTION_THRESHOLD;
    a->n_decisions = 2;
    a->decisions[0] = p->otherwise;
    if (!p->otherwise.name) {
        bool passes = strcmp(a->decisions[1].verdict, p->context->pass) == 0;
        a->decisions[0] = (mlc_decision){.name = passes ? "drop" : "pass",
                                         .verdict = passes ? p->context->drop : p->context->pass};
    }
    return true;
}

static bool finish_classes(parser *p) {
    const mlc_actions_context *context = p->context;
    mlc_actions *a = p->actions;
    a->kind = MLC_ACTION_CLASSES;
    a->n_decisions = context->n_classes;
    for (int i = 0; i < context->n_classes; i++) {
        a->decisions[i].name = context->labels ? mlc_arena_strdup(p->arena, context->labels[i])
                                               : mlc_arena_printf(p->arena, "class %d", i);
        if (!p->set[i])
            a->decisions[i].verdict = p->otherwise.name ? p->otherwise.verdict : context->pass;
    }
    return true;
}

static bool set_default(parser *p) {
    if (p->context->n_classes < 2) {
        p->actions->threshold = p->context->threshold;
        p->actions->decisions[1] = (mlc_decision){.name = "drop", .verdict = p->context->drop};
        p->thresholds = 1;
        return true;
    }
    if (!check_class_count(p))
        return false;
    p->set[0] = true;
    p->actions->decisions[0].verdict = p->context->pass;
    p->otherwise = (mlc_decision){.name = "drop", .verdict = p->context->drop};
    p->classes = 1;
    return true;
}

bool mlc_actions_parse(mlc_arena *arena, mlc_diag *diag, const char *spec, const mlc_actions_context *context,
                       mlc_actions **out) {
    parser p = {.arena = arena, .diag = diag, .context = context, .actions = MLC_NEW(arena, mlc_actions)};
    p.actions->element = -1;
    bool ok;
    if (!spec)
        ok = set_default(&p);
    else if (mlc_is_json(spec))
        ok = add_json(&p, mlc_json_parse(arena, diag, "actions", spec));
    else
        ok = add_text(&p, spec);
    if (!ok)
        return false;
    if (p.thresholds && p.classes)
        return mlc_error(diag, "actions: rules for classes and for a threshold do not mix");
    if (!p.thresholds && !p.classes)
        return mlc_error(diag, "actions: no rule says when to act");
    *out = p.actions;
    return p.thresholds ? finish_threshold(&p) : finish_classes(&p);
}
