//! Unary and binary operators.

use super::super::plan::{
    Cardinality, Instant, InstantFunction, PairOp, Position, ScalarArgument, ScalarBinary, ScalarOp,
    StepScalar, VectorMatch,
};
use super::super::promql::Span;
use super::super::promql::ast::{self, BinaryOp};
use super::constant::is_step_invariant;
use super::{Scalar, Translator, Value, Vector, grouping, position};
use crate::error::{Error, Result};
use crate::model::METRIC_NAME;

impl Translator<'_> {
    pub(super) fn unary(&self, unary: &ast::Unary) -> Result<Value> {
        let value = self.value(&unary.expr)?;
        if !unary.negative {
            return Ok(value);
        }
        let negated = |plan| Instant::of(InstantFunction::Negate).plan(plan, Vec::new(), self.schema);
        Ok(match value {
            Value::Scalar(Scalar::Known(known)) => {
                let negative = known.zip(&StepScalar::Constant(0.0), |value, _| -value);
                Value::Scalar(Scalar::Known(negative))
            }
            Value::Scalar(Scalar::Plan(plan)) => Value::Scalar(Scalar::Plan(negated(plan))),
            Value::Vector(vector) => {
                let plan = negated(vector.plan);
                Value::Vector(self.without_names(Vector { plan, ..vector }, false))
            }
        })
    }

    pub(super) fn binary(&self, expr: &ast::Binary, span: Span) -> Result<Value> {
        let (left, right) = (self.value(&expr.left)?, self.value(&expr.right)?);
        let (left, right) = match (left, right) {
            (Value::Vector(left), Value::Vector(right)) => {
                return self.vectors((expr, span), left, right).map(Value::Vector);
            }
            others => others,
        };
        let op = scalar_op(expr.op)?;
        let binary = |scalar_left| ScalarBinary {
            op,
            return_bool: expr.returns_bool,
            scalar_left,
            scalar: ScalarArgument::None,
            position: position(span),
        };
        match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(self.scalars(op, left, right))),
            (Value::Vector(vector), Value::Scalar(scalar)) => {
                Ok(Value::Vector(self.vector_scalar(&binary(false), vector, scalar)))
            }
            (Value::Scalar(scalar), Value::Vector(vector)) => {
                Ok(Value::Vector(self.vector_scalar(&binary(true), vector, scalar)))
            }
            (Value::Vector(_), Value::Vector(_)) => Err(Error::internal("two vectors are matched above")),
        }
    }

    fn vectors(&self, (expr, span): (&ast::Binary, Span), left: Vector, right: Vector) -> Result<Vector> {
        let op = match expr.op {
            BinaryOp::And => PairOp::And,
            BinaryOp::Or => PairOp::Or,
            BinaryOp::Unless => PairOp::Unless,
            op => PairOp::Scalar { op: scalar_op(op)?, return_bool: expr.returns_bool },
        };
        let matching = expr.matching.as_ref();
        let matching = matching.ok_or_else(|| Error::internal("two vectors without their matching"))?;
        let fill = [matching.fill_left, matching.fill_right].map(|fill| fill.map(StepScalar::Constant));
        // A comparison or an operation that is the same at every step is evaluated at one only.
        let is_constant = is_step_invariant(&expr.left) && is_step_invariant(&expr.right);
        let has_one_name = match (op, &matching.cardinality) {
            (PairOp::Scalar { op, return_bool }, _) if return_bool || !op.is_comparison() => true,
            (PairOp::Or, _) => false,
            (_, ast::Cardinality::OneToMany) => right.has_one_name,
            _ => left.has_one_name,
        };
        let copies_name = matching.include.iter().any(|label| label == METRIC_NAME);
        let node = VectorMatch {
            op,
            cardinality: match matching.cardinality {
                ast::Cardinality::OneToOne => Cardinality::OneToOne,
                ast::Cardinality::ManyToOne => Cardinality::ManyToOne(matching.include.clone()),
                ast::Cardinality::OneToMany => Cardinality::OneToMany(matching.include.clone()),
                ast::Cardinality::ManyToMany => Cardinality::ManyToMany,
            },
            matching: grouping(!matching.on, &matching.labels),
            fill,
            at_one_time: is_constant || self.is_instant(),
            position: position(span),
        };
        let plan = node.plan(left.plan, right.plan, self.schema);
        Ok(Vector { plan, has_one_name: has_one_name && !copies_name })
    }

    pub(super) fn scalars(&self, op: ScalarOp, left: Scalar, right: Scalar) -> Scalar {
        // A comparison between scalars always has `bool`; the grammar sees to it.
        let binary = |scalar, scalar_left| ScalarBinary {
            op,
            return_bool: op.is_comparison(),
            scalar_left,
            scalar,
            position: Position(0),
        };
        match (left, right) {
            (Scalar::Known(left), Scalar::Known(right)) => {
                Scalar::Known(left.zip(&right, |left, right| op.apply(left, right)))
            }
            (Scalar::Plan(left), right) => {
                let (argument, input) = right.into_argument();
                Scalar::Plan(binary(argument, false).plan(left, input, self.schema))
            }
            (Scalar::Known(left), Scalar::Plan(right)) => {
                Scalar::Plan(binary(ScalarArgument::Known(left), true).plan(right, None, self.schema))
            }
        }
    }

    fn vector_scalar(&self, binary: &ScalarBinary, vector: Vector, scalar: Scalar) -> Vector {
        let (scalar, input) = scalar.into_argument();
        let binary = ScalarBinary { scalar, ..binary.clone() };
        let drops_name = binary.drops_name();
        let plan = binary.plan(vector.plan, input, self.schema);
        let vector = Vector { plan, ..vector };
        if drops_name { self.without_names(vector, false) } else { vector }
    }
}

/// The operators between two values; set operators never stand between those, the others are not supported yet.
fn scalar_op(op: BinaryOp) -> Result<ScalarOp> {
    Ok(match op {
        BinaryOp::Add => ScalarOp::Add,
        BinaryOp::Sub => ScalarOp::Sub,
        BinaryOp::Mul => ScalarOp::Mul,
        BinaryOp::Div => ScalarOp::Div,
        BinaryOp::Mod => ScalarOp::Mod,
        BinaryOp::Pow => ScalarOp::Pow,
        BinaryOp::Atan2 => ScalarOp::Atan2,
        BinaryOp::Equal => ScalarOp::Equal,
        BinaryOp::NotEqual => ScalarOp::NotEqual,
        BinaryOp::Greater => ScalarOp::Greater,
        BinaryOp::Less => ScalarOp::Less,
        BinaryOp::GreaterEqual => ScalarOp::GreaterOrEqual,
        BinaryOp::LessEqual => ScalarOp::LessOrEqual,
        BinaryOp::Or | BinaryOp::And | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => {
            return Err(Error::unsupported(op.as_str()));
        }
    })
}
